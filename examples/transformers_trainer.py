"""Relevance guidance in a transformers Trainer: a mixin adds the loss, and the collator keeps the masks.

The embedded model is loaded as a timm model in transformers; "google/vit-base-patch16-224" works the same way.
"""

from tempfile import mkdtemp

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageClassification, Trainer, TrainingArguments

from robustvit import MaskedCollator, RelevanceTrainerMixin, load_model
from robustvit.data import embedded
from robustvit.data.embedded.scenes import make_scene


class GuidedTrainer(RelevanceTrainerMixin, Trainer):
    relevance_weight, classification_weight = 0.8, 0.2


scenes = [make_scene(label, label, np.random.default_rng(label)) for label in range(3)]
data = [{"image": Image.fromarray(s.image), "mask": Image.fromarray(s.mask), "label": s.label} for s in scenes]
MODEL = f"{embedded.__path__[0]}/model"
collator = MaskedCollator(load_model(f"local-dir:{MODEL}"))  # its size, mean and standard deviation
config = AutoConfig.from_pretrained(MODEL)
config.model_args.pop("num_classes")  # transformers' timm loader also passes it
model = AutoModelForImageClassification.from_pretrained(MODEL, config=config, dtype=torch.float32)
keep = {"remove_unused_columns": False, "report_to": "none", "save_strategy": "no", "use_cpu": True}
settings = TrainingArguments(mkdtemp(), max_steps=4, learning_rate=1e-5, logging_steps=1,
                             per_device_train_batch_size=3, disable_tqdm=True, **keep)  # fmt: skip
trainer = GuidedTrainer(model, settings, data_collator=collator, train_dataset=data)
trainer.train()
for row in trainer.state.log_history[:4]:
    print(f"step {row['step']}: relevance loss {row['relevance_loss']:.4f}")
