"TeX to MathML, and the part of a mathematical font that the formulas need."
import re
from pathlib import Path
from latex2mathml.converter import convert

FUNCTIONS = "log|exp|max|min|tanh"  # with a thin space around them, as TeX has it


def mathml(
    tex,      # what stood between the dollars
    display,  # "inline" or "block"
) -> str:
    "One formula as MathML, which every current browser draws without a script."
    tex = re.sub(r"\\(?:lVert|rVert)", r"\\|", tex)
    tex = tex.replace(r"\tfrac", r"\frac").replace(r"\Gamma", r"\mathrm{\Gamma}")
    tex = re.sub(r"\\(mathcal|mathbb|mathbf|mathrm) (\w)", r"\\\1{\2}", tex)
    tex = re.sub(rf"(?<=[\w}})])\s*\\({FUNCTIONS})\b", r"\\,\\\1", tex)
    tex = re.sub(rf"\\({FUNCTIONS})\s*(?=[\w\\])(?!\\(?:left|big|,))", r"\\\1\\,", tex)
    made = convert(tex, display=display)
    return made.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")  # \\sim is a relation


def write_font(
    characters,  # every character that stands in a formula
    path,        # .woff2
):
    "STIX Two Math (SIL Open Font License, as ziamath brings it), cut down to what is used."
    import ziamath
    from fontTools import subset
    options = subset.Options(layout_features=["*"], notdef_outline=True, name_IDs=["*"])
    options.flavor = "woff2"
    whole = Path(ziamath.__file__).parent/"fonts/STIXTwoMath-Regular.ttf"
    font = subset.load_font(str(whole), options)
    cutter = subset.Subsetter(options)
    always = set("()[]{}|‖∑∏∫√⏟⏞^˜¯ˆ0123456789.,=+−-–≤≥")
    cutter.populate(text="".join(sorted(set(characters) | always)))
    cutter.subset(font)
    subset.save_font(font, str(path), options)
