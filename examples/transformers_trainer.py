"""Relevance guidance in a transformers Trainer: override compute_loss, and let the collator keep masks.

The embedded model is loaded as a timm model in transformers; "google/vit-base-patch16-224" works the same way.
"""

from tempfile import mkdtemp

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForImageClassification, Trainer, TrainingArguments

from robustvit import relevance, relevance_loss
from robustvit.data import embedded
from robustvit.data.embedded.scenes import make_scene


class GuidedTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        masks = inputs.pop("masks")
        outputs = model(**inputs)
        maps = relevance(model, inputs["pixel_values"], inputs["labels"], second_order=True)
        on_object = relevance_loss(maps, masks)
        print(f"step {self.state.global_step}: relevance loss {on_object.item():.4f}")
        loss = 0.2 * outputs.loss + 0.8 * on_object
        return (loss, outputs) if return_outputs else loss


scenes = [make_scene(label, label, np.random.default_rng(label)) for label in range(3)]
mean, std = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))  # as the model's image processor does
pixels = [torch.tensor((scene.image / 255 - mean) / std).permute(2, 0, 1).float() for scene in scenes]
data = [{"pixel_values": p, "masks": torch.tensor(s.mask)[None] / 255, "labels": s.label}
        for p, s in zip(pixels, scenes, strict=True)]  # fmt: skip
MODEL = f"{embedded.__path__[0]}/model"
config = AutoConfig.from_pretrained(MODEL)
config.model_args.pop("num_classes")  # transformers' timm loader also passes it
model = AutoModelForImageClassification.from_pretrained(MODEL, config=config, dtype=torch.float32)
keep = {"remove_unused_columns": False, "report_to": "none", "save_strategy": "no", "use_cpu": True}
settings = TrainingArguments(mkdtemp(), max_steps=4, learning_rate=1e-5, per_device_train_batch_size=3, **keep)
GuidedTrainer(model, settings, train_dataset=data).train()
