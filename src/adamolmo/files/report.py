"""What the report is put together from, beside tables and documents."""

from adamolmo.files.schema import Plain

PLOT = Plain("results/plots/{figure}.png", "A figure, for the page; the same as PDF beside it.")
RULE_GRAPH = Plain("results/report/rule_graph.dot", "The study's rules and what passes between them (Graphviz).")
