r"""LaTeX as text for a terminal: `\tfrac12 (v_0 - v_1)` is `1/2 (v₀ - v₁)`. Only what docstrings use is known."""

from __future__ import annotations

import re

_SYMBOLS = {
    r"\alpha": "α", r"\beta": "β", r"\gamma": "γ", r"\delta": "δ", r"\epsilon": "ε", r"\varepsilon": "ε",
    r"\theta": "θ", r"\lambda": "λ", r"\mu": "μ", r"\pi": "π", r"\rho": "ρ", r"\sigma": "σ", r"\Sigma": "Σ",
    r"\tau": "τ", r"\Delta": "Δ", r"\ell": "ℓ", r"\cdots": "...", r"\phi": "φ", r"\omega": "ω", r"\le": "≤",
    r"\leq": "≤", r"\ge": "≥", r"\geq": "≥", r"\ne": "≠", r"\neq": "≠", r"\cdot": "·", r"\times": "×",
    r"\to": "→", r"\leftarrow": "←", r"\infty": "∞", r"\approx": "≈", r"\in": "∈", r"\sim": "~", r"\sum": "Σ",
    r"\prod": "Π", r"\dots": "...", r"\ldots": "...", r"\pm": "±", r"\lfloor": "⌊", r"\rfloor": "⌋",
    r"\lceil": "⌈", r"\rceil": "⌉", r"\lvert": "|", r"\rvert": "|", r"\mid": "|", r"\bmod": "mod",
    r"\mod": "mod", r"\{": "\1", r"\}": "\2", r"\%": "%", r"\_": "_", r"\|": "|", r"\qquad": "   ",
    r"\quad": "  ", r"\,": " ", r"\;": " ", r"\:": " ", r"\ ": " ", r"\!": "",
}  # fmt: skip
_SILENT = re.compile(r"\\(?:left|right|bigl|bigr|big|Bigl|Bigr|Big|displaystyle|limits)(?![A-Za-z])")
_WORDS = re.compile(r"\\(?:text|mathrm|operatorname|mathbf|mathit)\*?\s*\{([^{}]*)\}")
_ACCENTS = {"bar": "\u0304", "tilde": "\u0303", "hat": "\u0302"}
_SMALL = str.maketrans("0123456789+-=()aeijkmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑᵢⱼₖₘₙₒₚᵣₛₜᵤᵥₓ")
_HIGH = str.maketrans("0123456789+-nik", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱᵏ")
_GROUP = r"\{((?:[^{}]|\{[^{}]*\})*)\}"


def as_text(latex: str) -> str:
    r"""A formula as lines of text.

    >>> as_text(r"v(t) = v_1 + \tfrac12 (v_0 - v_1)\,(1 + \cos(\pi \min(t, T) / T))")
    'v(t) = v₁ + 1/2 (v₀ - v₁) (1 + cos(π min(t, T) / T))'
    >>> as_text(r"v_0 \left(\frac{v_1}{v_0}\right)^{\lfloor t / s \rfloor}")
    'v₀ (v₁ / v₀)^⌊t / s⌋'
    """
    text = re.sub(r"\\(?:begin|end)\{(?:cases|aligned|align\*?)\}", "\n", latex)
    text = re.sub(r"(?<!\\)\\\\", "\n", text).replace("&=", "=").replace("&", "  ")
    text = re.sub(r"\\[td]?frac\s*(\d)\s*(\d)", r"\1/\2", _SILENT.sub("", text))
    text = re.sub(r"\\(bar|tilde|hat)\s*\{?(\w)\}?", lambda m: m[2] + _ACCENTS[m[1]], text)
    before = ""
    while before != text:
        before, text = text, _WORDS.sub("\0\\1", text)  # the mark keeps a command before it apart from the word
        text = re.sub(rf"\\(cos|sin|tanh|ln|log|exp)\s*(\\[td]?frac\s*{_GROUP}\s*{_GROUP})", r"\\\1(\2)", text)
        text = re.sub(rf"\\[td]?frac\s*{_GROUP}\s*{_GROUP}", lambda m: f"{_bracket(m[1])} / {_bracket(m[2])}", text)
        text = re.sub(rf"\\sqrt\s*{_GROUP}", r"√(\1)", text)
    for name in sorted(_SYMBOLS, key=len, reverse=True):
        text = re.sub(re.escape(name) + (r"(?![A-Za-z])" if name[-1].isalpha() else ""), _SYMBOLS[name], text)
    text = re.sub(r"\\([A-Za-z]+)", r"\1", text)
    text = re.sub(rf"_(?:{_GROUP}|(\w))", lambda m: _lowered(m[1] or m[2]), text)
    text = re.sub(rf"\^(?:{_GROUP}|(\w|\*))", lambda m: _raised(m[1] or m[2]), text)
    text = re.sub(r"[\\{}\0]", "", text).replace("\1", "{").replace("\2", "}")
    return "\n".join(_tidy(line) for line in text.splitlines() if line.strip(" ,"))


def inline(text: str) -> str:
    """Prose with its inline formulas as text, and code as it is."""
    return re.sub(r":math:`([^`]*)`", lambda found: as_text(found[1]), text)


def _tidy(line: str) -> str:
    """Single spaces within a formula, and wide ones where it stands beside another."""
    line = re.sub(r"(?<=[(⌊⌈]) (?=\S)|(?<=\S) (?=[)⌋⌉,])", "", line.strip().removeprefix(",").strip())
    line = re.sub(r"\b(cos|sin|tanh|min|max|ln|log|exp|round) (?=\()", r"\1", line)
    return re.sub(r" {3,}", "   ", re.sub(r"(?<! )  (?! )", " ", line))


def _bracket(text: str) -> str:
    text = text.strip()
    plain = re.fullmatch(r"[\w\\\0]+(?:_\{?\w+\}?)?|\\?\w*\([^()]*\)", text)
    return text if plain else f"({text})"


def _lowered(text: str) -> str:
    text = text.strip().replace("\0", "")
    small = text.translate(_SMALL)
    fits = len(text) <= 2 and not any(one in small for one in text)
    return small if fits else f"_{text}" if re.fullmatch(r"\w+", text) else f"_({text})"


def _raised(text: str) -> str:
    text = text.strip().replace("\0", "")
    if text == "*":
        return "*"
    high = text.translate(_HIGH)
    if len(text) <= 2 and not any(one in high for one in text):
        return high
    return f"^{text}" if re.fullmatch(r"\w+|⌊[^⌊⌋]*⌋|\([^()]*\)", text) else f"^({text})"
