"""Every file that one rule writes and another reads, in the order in which the workflow makes them."""

from adamolmo.files import embedded, features, model, policy
from adamolmo.files.comparisons import COMPARISONS, EQUAL_LATENCY, HYPERVOLUMES, PROMISES, REGRET
from adamolmo.files.core_exp import CORE_EXP, CORE_EXP_ACCURACY, CORE_EXP_LATENCY, Reference
from adamolmo.files.documents import Document
from adamolmo.files.evaluation import EVALUATION, CellSummary
from adamolmo.files.governor import ConfigLatency, ControllerResponse, StreamState
from adamolmo.files.importance import BeamSearch, DatasetImportance, Importance, InternalScores, Selection
from adamolmo.files.lmms_eval import ANSWERS, BENCHMARK_COMPARISONS, BENCHMARKS, Benchmark, TaskData
from adamolmo.files.lookup import ExpectedLatencyFile, LookupFile
from adamolmo.files.report import PLOT, RULE_GRAPH
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import Plain, Table, Tensors
from adamolmo.files.summary import SUMMARY
from adamolmo.files.training import PREDICTOR_TRAINING, RELIABILITY, TRAINING

FILES: tuple[Table | Tensors | Plain | type[Document], ...] = (
    model.WEIGHTS,
    model.MODEL_CONFIG,
    model.TOKENIZER,
    model.Manifest,
    model.Work,
    SAMPLES,
    DatasetImportance,
    InternalScores,
    BeamSearch,
    Importance,
    Selection,
    CORE_EXP_ACCURACY,
    CORE_EXP_LATENCY,
    CORE_EXP,
    Reference,
    LookupFile,
    ExpectedLatencyFile,
    features.FEATURES,
    policy.WEIGHTS,
    policy.PolicyCard,
    TRAINING,
    PREDICTOR_TRAINING,
    RELIABILITY,
    ConfigLatency,
    ControllerResponse,
    CellSummary,
    EVALUATION,
    SUMMARY,
    COMPARISONS,
    EQUAL_LATENCY,
    PROMISES,
    HYPERVOLUMES,
    REGRET,
    PLOT,
    RULE_GRAPH,
    StreamState,
    TaskData,
    Benchmark,
    ANSWERS,
    BENCHMARKS,
    BENCHMARK_COMPARISONS,
    embedded.PART,
)
