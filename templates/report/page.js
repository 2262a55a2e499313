"use strict";
(function () {
  var words = document.body.dataset;
  var told = document.getElementById("told");

  function selected(block) {
    var range = document.createRange();
    range.selectNodeContents(block);
    var selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }

  function copied(block) {
    if (navigator.clipboard && window.isSecureContext) {
      return navigator.clipboard.writeText(block.textContent);
    }
    selected(block);
    return document.execCommand("copy") ? Promise.resolve() : Promise.reject(new Error("refused"));
  }

  function button(text, label, act) {
    var made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", text + ": " + label);
    made.addEventListener("click", act);
    return made;
  }

  document.querySelectorAll("pre[data-copy]").forEach(function (block) {
    var bar = document.createElement("div");
    bar.className = "tools";
    var label = block.dataset.copy || block.textContent.trim().slice(0, 60);
    var copy = button(words.copy, label, function () {
      copied(block).then(
        function () {
          told.textContent = words.copied;
          copy.textContent = words.copied;
          setTimeout(function () { copy.textContent = words.copy; told.textContent = ""; }, 2000);
        },
        function () {
          selected(block);
          told.textContent = words.selected;
        }
      );
    });
    bar.append(copy);
    if (block.dataset.save) {
      bar.append(button(words.save, block.dataset.save, function () {
        var link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob([block.textContent], { type: "application/octet-stream" }));
        link.download = block.dataset.save;
        link.click();
        setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
      }));
    }
    block.before(bar);
  });

  // What is folded is printed too, except the raw snapshot, which is for machines.
  var opened = [];
  window.addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll("details:not([open]):not(.raw)"));
    opened.forEach(function (each) { each.open = true; });
  });
  window.addEventListener("afterprint", function () {
    opened.forEach(function (each) { each.open = false; });
  });
})();
