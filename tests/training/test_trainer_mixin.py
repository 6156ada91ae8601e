"""Relevance guidance in a transformers Trainer, in Lightning, and sets of the library datasets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from helpers.drawn_photos import CLASSES
from helpers.small_models import SIZE, tiny_network, tiny_transformers
from robustvit import (
    MaskedCollator,
    RelevanceTrainerMixin,
    UserError,
    load_model,
    relevance,
    relevance_loss,
    to_dataset,
)
from robustvit.data.class_matching import match_labels
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.find_photos import find_photos


def drawn_rows(count=4):
    rng = np.random.default_rng(0)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8:30, 8:30] = 255
    return [
        {"image": Image.fromarray(rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8)), "mask": Image.fromarray(mask),
         "label": index % 3}
        for index in range(count)
    ]  # fmt: skip


def trained(tmp_path, batch, accumulation, **options):
    """The weights after one plain step on four rows, and the logs."""
    transformers = pytest.importorskip("transformers")

    class Guided(RelevanceTrainerMixin, transformers.Trainer):
        pass

    network = tiny_transformers()
    settings = transformers.TrainingArguments(
        str(tmp_path / "trainer"), max_steps=1, learning_rate=0.1, optim="sgd", max_grad_norm=0.0, logging_steps=1,
        lr_scheduler_type="constant", per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
        report_to="none", save_strategy="no", use_cpu=True, disable_tqdm=True,
        **({"remove_unused_columns": False} | options),
    )  # fmt: skip
    trainer = Guided(
        network, settings, data_collator=MaskedCollator(load_model(tiny_transformers())), train_dataset=drawn_rows()
    )
    trainer.train()
    return dict(network.named_parameters()), trainer.state.log_history


def plain_step():
    """The same step without any of transformers' trainer."""
    network = tiny_transformers()
    batch = MaskedCollator(load_model(tiny_transformers()))(drawn_rows())
    labels, pixels = batch["labels"], batch["pixel_values"]
    found = relevance_loss(relevance(network, pixels, labels, second_order=True), batch["masks"])
    loss = 0.2 * F.cross_entropy(network(pixels).logits, labels) + 0.8 * found
    loss.backward()
    weights = {n: (p - 0.1 * p.grad if p.grad is not None else p).detach() for n, p in network.named_parameters()}
    return weights, float(found.detach())


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "accumulation"), [(4, 1), (2, 2)])
def test_a_step_of_the_trainer_is_that_of_a_plain_loop_also_with_accumulation(tmp_path, batch, accumulation):
    weights, logs = trained(tmp_path, batch, accumulation)
    expected, loss = plain_step()
    for name, one in weights.items():
        assert torch.allclose(one, expected[name], atol=2e-5), name
    assert "relevance_loss" in logs[0]
    if accumulation == 1:
        assert logs[0]["relevance_loss"] == pytest.approx(loss, abs=1e-5)


@pytest.mark.slow
def test_a_trainer_that_would_drop_the_masks_is_refused(tmp_path):
    with pytest.raises(UserError, match="remove_unused_columns=False"):
        trained(tmp_path, 4, 1, remove_unused_columns=True)


def test_a_batch_without_masks_has_the_trainers_own_loss():
    class Own:
        def compute_loss(self, model, inputs, return_outputs=False):
            assert set(inputs) == {"pixel_values", "labels"}
            return torch.tensor(3.0), "outputs"

    class Guided(RelevanceTrainerMixin, Own):
        pass

    inputs = {"pixel_values": torch.zeros(1), "labels": torch.zeros(1), "masks": None}
    assert Guided().compute_loss(None, inputs, return_outputs=True) == (torch.tensor(3.0), "outputs")
    assert Guided().compute_loss(None, inputs) == 3


def test_the_collator_makes_the_tensors_of_our_own_datasets(photos):
    model = load_model(tiny_network())
    plain = MaskedPhotos(match_labels(find_photos(*photos), 3, CLASSES), model.preprocessing)
    rows = to_dataset(*photos) if pytest.importorskip("datasets") else []
    batch = MaskedCollator(model, normalise=False)([rows[3], rows[17]])
    for place, index in enumerate((3, 17)):
        assert torch.allclose(batch["pixel_values"][place], plain[index]["image"], atol=1e-6)
        assert torch.equal(batch["masks"][place], plain[index]["mask"])
        assert int(batch["labels"][place]) == plain[index]["label"]
    scaled = MaskedCollator(model)([rows[3]])["pixel_values"]
    assert torch.allclose(scaled * model.std + model.mean, plain[3]["image"][None], atol=1e-5)


def test_the_collator_moves_image_and_mask_together():
    rows = drawn_rows(1)
    rows[0]["image"] = Image.merge("RGB", [rows[0]["mask"]] * 3)
    for seed in range(3):
        torch.manual_seed(seed)
        batch = MaskedCollator(load_model(tiny_network()), augment=True, normalise=False)(rows)
        same = (batch["pixel_values"][:, :1] > 0.5) == (batch["masks"] > 0.5)
        assert same.float().mean() > 0.95


def test_a_mask_of_another_size_is_refused():
    rows = drawn_rows(1)
    rows[0]["mask"] = np.zeros((3, 3), np.uint8)
    with pytest.raises(UserError, match="like its image"):
        MaskedCollator(load_model(tiny_network()))(rows)


def test_a_set_comes_back_as_the_photos_that_it_was_made_of(photos, tmp_path):
    pytest.importorskip("datasets")
    found = to_dataset(*photos)
    assert found.features["label"].names == sorted(CLASSES)
    assert found.column_names == ["image", "mask", "label"]
    found.save_to_disk(str(tmp_path / "set"))
    listed = find_photos(f"hf:{tmp_path / 'set'}")
    original = find_photos(*photos)
    assert [photo.class_name for photo in listed] == [photo.class_name for photo in original]
    for one, other in zip(listed[:3], original[:3], strict=True):
        assert np.array_equal(np.asarray(Image.open(one.image)), np.asarray(Image.open(other.image)))
        assert np.array_equal(np.asarray(Image.open(one.mask)) > 0, np.asarray(Image.open(other.mask)) > 0)


class Module:
    """A LightningModule, where Lightning is installed."""

    def __new__(cls, lightning):
        class Yours(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.model = load_model(tiny_network())

            def training_step(self, batch, batch_idx):
                return 0.2 * F.cross_entropy(self.model(batch["image"]), batch["label"])

            def configure_optimizers(self):
                return torch.optim.SGD(self.model.parameters(), lr=0.1)

        return Yours()


def fitted(batch, accumulation, callback, precision="32-true"):
    lightning = pytest.importorskip("lightning")
    collator = MaskedCollator(load_model(tiny_network()), normalise=False)

    def collate(rows):
        found = collator(rows)
        return {"image": found["pixel_values"], "mask": found["masks"], "label": found["labels"]}

    module = Module(lightning)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", accumulate_grad_batches=accumulation, callbacks=[callback], logger=False,
        precision=precision, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(drawn_rows(), batch_size=batch, collate_fn=collate))
    return module, trainer


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "accumulation"), [(4, 1), (2, 2)])
def test_a_step_of_lightning_is_that_of_a_plain_loop_also_with_accumulation(batch, accumulation):
    pytest.importorskip("lightning")
    from robustvit.training.lightning_callback import RelevanceCallback

    module, trainer = fitted(batch, accumulation, RelevanceCallback(keys=("image", "mask", "label")))
    model = load_model(tiny_network())
    rows = MaskedCollator(model, normalise=False)(drawn_rows())
    found = relevance_loss(relevance(model, rows["pixel_values"], rows["labels"], second_order=True), rows["masks"])
    (0.2 * F.cross_entropy(model(rows["pixel_values"]), rows["labels"]) + 0.8 * found).backward()
    for (name, one), other in zip(module.model.named_parameters(), model.parameters(), strict=True):
        expected = other if other.grad is None else other - 0.1 * other.grad
        assert torch.allclose(one, expected, atol=2e-5), name
    assert 0 < trainer.callback_metrics["relevance_loss"] < 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"), [({"network": "net"}, "network=NAME"), ({"keys": ("image", "masks", "label")}, "keys=")]
)
def test_a_batch_or_module_of_another_form_is_refused_in_one_line(options, words):
    pytest.importorskip("lightning")
    from robustvit.training.lightning_callback import RelevanceCallback

    with pytest.raises(UserError, match=words):
        fitted(4, 1, RelevanceCallback(**({"keys": ("image", "mask", "label")} | options)))


def test_scaled_losses_are_refused():
    pytest.importorskip("lightning")
    from types import SimpleNamespace

    from robustvit.training.lightning_callback import RelevanceCallback

    with pytest.raises(UserError, match="16-mixed"):
        RelevanceCallback().on_fit_start(SimpleNamespace(precision="16-mixed"), torch.nn.Module())
