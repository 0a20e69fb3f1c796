"""Parameter-efficient dense retrieval and re-ranking for Pyserini.

Importing this package makes our tuning methods known to PEFT as soon as PEFT itself is imported, so
``peft.PeftModel.from_pretrained`` and ``transformers.AutoModel.from_pretrained`` load our checkpoints.
"""

from iaa_retrieval._registration import register_when_peft_is_imported
from iaa_retrieval._version import __version__

__all__ = ["__version__"]

register_when_peft_is_imported()
