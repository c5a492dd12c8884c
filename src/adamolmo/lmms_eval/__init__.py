"""AdaMolmo as a model of lmms-eval 0.7.3: the community's benchmarks, with latency beside accuracy.

`AdaMolmo` in `model.py` is the model. lmms-eval finds it by the entry point `adamolmo` in the group `lmms_eval.models`,
which calls `manifest`. Only this package needs lmms-eval, and `schema`, `summary` and `figure` do without it.
"""


def manifest():
    """What `--model adamolmo` stands for. The import is late because lmms-eval calls this while it is imported."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest("adamolmo", simple_class_path="adamolmo.lmms_eval.command_line.CommandLineModel")
