"""What every rule uses: the validated configuration, names of files, and which code a script runs."""

import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Jobs run the interpreter of Snakemake itself and the library beside this Snakefile, whose files `code` tracks.
HERE = os.path.relpath(workflow.basedir)
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["PYTHONPATH"] = os.path.join(workflow.basedir, "src")
sys.path.insert(0, os.environ["PYTHONPATH"])

from adamolmo.code_files import code_files
from adamolmo.config import StudyConfig
from adamolmo.errors import AdaMolmoError

try:
    STUDY = StudyConfig.from_dict(config, *(os.path.relpath(f) for f in workflow.configfiles))
except AdaMolmoError as error:
    sys.exit(f"error: {error}")
