"""The Oscar model: captions, object tags and regions in one transformer.

Importing this package teaches transformers the model type "oscar": `AutoConfig`, `AutoModel` (no head),
`AutoModelForMaskedLM` (captions), `AutoModelForPreTraining` and `AutoModelForSequenceClassification`
(retrieval) then read its folders.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
)

from oscar.backbone import OscarModel
from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning, OscarForPreTraining, OscarForRetrieval

AutoConfig.register(OscarConfig.model_type, OscarConfig, exist_ok=True)
AutoModel.register(OscarConfig, OscarModel, exist_ok=True)
AutoModelForMaskedLM.register(OscarConfig, OscarForCaptioning, exist_ok=True)
AutoModelForPreTraining.register(OscarConfig, OscarForPreTraining, exist_ok=True)
AutoModelForSequenceClassification.register(OscarConfig, OscarForRetrieval, exist_ok=True)
