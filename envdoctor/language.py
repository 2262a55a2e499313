"""Which language a person reads, and its catalogue: locale/LANGUAGE/LC_MESSAGES/envdoctor.mo, as gettext keeps it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from gettext import GNUTranslations

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "locale")
DOMAIN = "envdoctor"
# What a person may ask for -> the catalogue's folder; English needs none.
LANGUAGES = {"en": None, "zh": "zh_CN"}
# Simplified Chinese is read in these; a reader of Traditional Chinese gets it on request.
_SIMPLIFIED = ("zh", "zh_cn", "zh_sg", "zh_hans", "zh-cn", "zh-sg", "zh-hans", "chinese")
_CHINESE_CODE_PAGES = (0x0804, 0x1004)  # language ids of Windows: PRC, Singapore


def preferred(environ: Mapping[str, str]) -> str:
    """Tell which of LANGUAGES the person's settings ask for: ENVDOCTOR_LANG, then the locale as gettext reads it.

    >>> preferred({"LANG": "zh_CN.UTF-8"}), preferred({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}), preferred({})
    ('zh', 'en', 'en')
    """
    own = environ.get("ENVDOCTOR_LANG", "")
    if own in LANGUAGES:
        return own
    locale = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    if not locale and sys.platform == "win32":
        return "zh" if _windows_language() in _CHINESE_CODE_PAGES else "en"
    plain = locale.partition(".")[0].partition("@")[0].lower()
    if plain in ("", "c", "posix"):
        return "en"
    # LANGUAGE is a list of wishes, and counts only where a locale is set.
    first = environ.get("LANGUAGE", "").partition(":")[0].partition(".")[0].lower() or plain
    return "zh" if first in _SIMPLIFIED or first.startswith("zh_hans") else "en"


def catalogue(language: str) -> GNUTranslations | None:
    """Read the messages of one of LANGUAGES; None for English, and where an installation lost or damaged the file."""
    folder = LANGUAGES[language]
    if folder is None:
        return None
    from gettext import translation
    from struct import error

    try:
        return translation(DOMAIN, FOLDER, [folder])
    except (OSError, ValueError, error):
        return None


def _windows_language() -> int:
    import ctypes

    windll = getattr(ctypes, "windll", None)
    return int(windll.kernel32.GetUserDefaultUILanguage()) if windll else 0
