"""The study's figures, one per file. `draw` takes what the figure reads (named as in `report.inputs`) and writes
`path`.pdf and `path`.png; rules/report_inputs.smk lists the figures."""
