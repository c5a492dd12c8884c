"""The study's configuration: one typed model per section of `config.yaml`, every key described.

`docs/configuration.md` and its JSON schema are generated from these models. Every value stands in `config.yaml`, and
further files only override it. The only defaults in code are those of a dataset's entry, which users add themselves.
"""

from adamolmo.config.study import StudyConfig as StudyConfig
