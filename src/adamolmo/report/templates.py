"""Fills the report's templates, which lie in workflow/report: HTML, Markdown and LaTeX."""

from pathlib import Path

from jinja2 import Environment, StrictUndefined

from adamolmo.report.results import budget_name

# Braces are LaTeX's own, so a template of LaTeX has << >> and <% %> where the others have {{ }} and {% %}.
_LATEX = {
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "block_start_string": "<%",
    "block_end_string": "%>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}
_ESCAPES = str.maketrans(
    {sign: f"\\{sign}" for sign in "_%&#${}"}
    | {sign: f"${sign}$" for sign in "<>"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def _latex(text: str) -> str:
    return text.translate(_ESCAPES).replace(r" \%", r"\,\%").replace(" ms", r"\,ms")


def render(template: Path, **content: object) -> str:
    """The text of a template; what HTML would read as markup is escaped in HTML, in LaTeX what passes `latex`."""
    kind = template.suffixes[-2]
    environment = Environment(
        autoescape=kind == ".html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **(_LATEX if kind == ".tex" else {}),
    )
    environment.filters |= {"budget": budget_name, "latex": _latex}
    return environment.from_string(template.read_text()).render(content)
