"""The Oscar model: captions, object tags and regions in one transformer.

Importing this package teaches transformers' `AutoConfig` and `AutoModel` the model type "oscar".
"""

from transformers import AutoConfig, AutoModel

from oscar.configuration import OscarConfig
from oscar.modeling import OscarModel

AutoConfig.register(OscarConfig.model_type, OscarConfig, exist_ok=True)
AutoModel.register(OscarConfig, OscarModel, exist_ok=True)
