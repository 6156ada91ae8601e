"""RobustViT: finetune the relevance map of a vision transformer onto the object.

``__init__.pyi`` lists the public names. Each is imported on first use, so that ``import robustvit`` and
``robustvit --help`` stay instant.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
