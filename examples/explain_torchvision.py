"""Explain a torchvision model: which part of the image does its prediction come from?

To download a model: torchvision.models.vit_b_16(weights="DEFAULT"). Here a torchvision transformer gets the embedded
model's weights, renamed. Other methods: relevance(..., method="attnlrp").
"""

from importlib.resources import files

import numpy as np
import torch
from safetensors.torch import load_file
from torchvision.models import VisionTransformer

from robustvit import Classifier, relevance
from robustvit.data.embedded.scenes import CLASSES, make_scene

NAMES = {"patch_embed.proj": "conv_proj", "cls_token": "class_token", "pos_embed": "encoder.pos_embedding",
         "blocks.": "encoder.layers.encoder_layer_", "norm1": "ln_1", "norm2": "ln_2", "mlp.fc1": "mlp.0",
         "mlp.fc2": "mlp.3", "qkv.": "in_proj_", "attn.": "self_attention.", ".proj.": ".out_proj."}  # fmt: skip
model = VisionTransformer(112, 14, num_layers=4, num_heads=6, hidden_dim=384, mlp_dim=672, num_classes=10)
state = {}
for name, weight in load_file(files("robustvit.data.embedded") / "model" / "model.safetensors").items():
    for old, new in NAMES.items():
        name = name.replace(old, new)
    name = "encoder.ln." + name[5:] if name.startswith("norm.") else name.replace("head.", "heads.head.")
    state[name] = weight.float()
model.load_state_dict(state)
classifier = Classifier(model.eval(), class_names=CLASSES)  # normalizes images in [0, 1] as torchvision's models expect

scenes = [make_scene(3, background, np.random.default_rng(1)) for background in (3, 5)]  # an umbrella, twice
images = torch.stack([torch.tensor(scene.image).permute(2, 0, 1) / 255 for scene in scenes])
with torch.no_grad():
    maps = relevance(classifier, images)  # (2, 1, 112, 112) in [0, 1], of the predicted class
for scene, logits, one in zip(scenes, classifier(images), maps[:, 0], strict=True):
    share = float(one[torch.tensor(scene.mask) > 0].sum() / one.sum())
    predicted = CLASSES[logits.argmax()]
    print(f"{CLASSES[scene.label]}: predicted {predicted}, {100 * share:.0f} % of the relevance on the object")
