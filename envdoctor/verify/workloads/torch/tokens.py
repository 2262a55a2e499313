"""GPT-2's tokens: byte pair encoding (Radford et al. 2019), from the vocabulary and the list of merges."""

import json
import re

# Words with the space before them, numbers, and what is neither.
PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def printable():
    """Give the character that stands for each byte: itself where it can be seen, else one from 256 up."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in seen]
    return {**{byte: chr(byte) for byte in seen}, **{byte: chr(256 + place) for place, byte in enumerate(others)}}


class Tokens:
    """From text to numbers and back."""

    def __init__(self, vocabulary, merges):
        self.numbers = vocabulary
        self.texts = {number: text for text, number in vocabulary.items()}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.characters = printable()
        self.bytes = {character: byte for byte, character in self.characters.items()}

    def numbered(self, text):
        """Give the numbers of a text."""
        found = []
        for piece in PIECES.findall(text):
            parts = [self.characters[byte] for byte in piece.encode()]
            while len(parts) > 1:
                ranked = [(self.ranks.get(pair), place) for place, pair in enumerate(zip(parts, parts[1:]))]
                known = [each for each in ranked if each[0] is not None]
                if not known:
                    break
                place = min(known)[1]
                parts[place : place + 2] = [parts[place] + parts[place + 1]]
            found += [self.numbers[part] for part in parts]
        return found

    def text(self, numbers):
        """Give the text of numbers."""
        characters = "".join(self.texts[number] for number in numbers)
        return bytes(self.bytes[each] for each in characters).decode("utf-8", "replace")


def read(vocabulary, merges):
    """Read the two files: vocab.json and merges.txt, which are also called encoder.json and vocab.bpe."""
    with open(vocabulary, encoding="utf-8") as file:
        numbers = json.load(file)
    with open(merges, encoding="utf-8") as file:
        pairs = [tuple(line.split()) for line in file.read().split("\n") if not line.startswith("#version")]
    return Tokens(numbers, [pair for pair in pairs if len(pair) == 2])
