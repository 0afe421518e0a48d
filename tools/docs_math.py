"TeX to MathML, and the part of a mathematical font that the formulas need."
import re
from pathlib import Path
from latex2mathml.converter import convert


def mathml(
    tex,      # what stood between the dollars
    display,  # "inline" or "block"
) -> str:
    "One formula as MathML, which every current browser draws without a script."
    tex = re.sub(r"\\(?:lVert|rVert)", r"\\|", tex).replace(r"\tfrac", r"\frac").replace(r"\Gamma", r"\mathrm{\Gamma}")
    tex = re.sub(r"\\(mathcal|mathbb|mathbf|mathrm) (\w)", r"\\\1{\2}", tex)
    tex = re.sub(r"(?<=[\w})])\s*\\(log|exp|max|min|tanh)\b", r"\\,\\\1", tex)         # a thin space around functions, as TeX has it
    tex = re.sub(r"\\(log|exp|max|min|tanh)\s*(?=[\w\\])(?!\\(?:left|big|,))", r"\\\1\\,", tex)
    return convert(tex, display=display).replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")  # \\sim is a relation


def write_font(
    characters,  # every character that stands in a formula
    path,        # .woff2
):
    "STIX Two Math (SIL Open Font License, as ziamath brings it), cut down to what is used."
    import ziamath
    from fontTools import subset
    options = subset.Options(flavor="woff2", layout_features=["*"], notdef_outline=True, name_IDs=["*"])
    font = subset.load_font(str(Path(ziamath.__file__).parent/"fonts/STIXTwoMath-Regular.ttf"), options)
    cutter = subset.Subsetter(options)
    cutter.populate(text="".join(sorted(set(characters) | set("()[]{}|‖∑∏∫√⏟⏞^˜¯ˆ0123456789.,=+−-–≤≥"))))
    cutter.subset(font)
    subset.save_font(font, str(path), options)
