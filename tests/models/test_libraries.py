"""Models of every library: loaded, saved, loaded again, finetuned; nothing is downloaded."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import VisionTransformer, resnet18

from helpers.drawn_photos import CLASSES
from helpers.small_models import SIZE, tiny_network, tiny_torchvision, tiny_transformers
from robustvit import Classifier, UserError, evaluate, explain, finetune, load_model, relevance
from robustvit.data.datasets import evaluation_transform
from robustvit.models.baseline import load_original
from robustvit.models.classifier import Preprocessing
from robustvit.models.families import find_layout
from robustvit.models.heads import count_head_classes
from robustvit.models.save import restore_weights, save_model

IMAGES = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


TOWER = {"image_size": SIZE, "layers": 2, "width": 24, "head_width": 8, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}


@pytest.fixture(scope="module")
def open_clip(tmp_path_factory):
    library = pytest.importorskip("open_clip")
    folder = tmp_path_factory.mktemp("configs")
    timm_tower = {"image_size": 224, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token"}
    for name, tower, more in (
        ("tiny-clip", TOWER, {}),
        ("tiny-bias", TOWER, {"init_logit_bias": -10.0, "custom_text": True}),
        ("tiny-timm", timm_tower, {}),
    ):
        config = {"embed_dim": 16, "vision_cfg": tower, "text_cfg": TEXT, **more}
        (folder / f"{name}.json").write_text(json.dumps(config))
    library.add_model_config(folder)
    return library


def zero_shot(open_clip, name="tiny-clip", **options):
    torch.manual_seed(0)
    options = {"class_names": list(CLASSES), "pretrained": False} | options
    return load_model(f"open_clip:{name}", **options)


@pytest.fixture(params=["transformers", "beit", "torchvision", "resnet", "open_clip"])
def classifier(request):
    if request.param == "open_clip":
        return zero_shot(request.getfixturevalue("open_clip"))
    if request.param == "resnet":
        made = load_model("torchvision:resnet18", pretrained=False, num_classes=3)
        made.class_names = CLASSES
        return made
    build = {"transformers": tiny_transformers, "torchvision": tiny_torchvision}.get(request.param)
    network = build() if build else tiny_transformers("Beit", use_relative_position_bias=True)
    return load_model(network, class_names=list(CLASSES))


def test_a_saved_model_loads_again_bit_for_bit(classifier, tmp_path):
    folder = save_model(classifier, tmp_path / "run" / "best")
    logits = classifier(IMAGES)
    assert logits.shape == (2, classifier.num_classes) == (2, 3)
    for source in (folder, f"local-dir:{folder}", tmp_path / "run"):
        again = load_model(source)
        assert torch.equal(again(IMAGES), logits)
        assert again.class_names == CLASSES
        assert again.preprocessing == classifier.preprocessing
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.zero_()
    restore_weights(classifier, folder)
    assert torch.equal(classifier(IMAGES), logits)
    with pytest.raises(UserError, match="head of 3 classes, not 5"):
        load_model(folder, num_classes=5)


def test_a_saved_model_of_transformers_needs_nothing_of_ours(tmp_path):
    transformers = pytest.importorskip("transformers")
    classifier = load_model(tiny_transformers(), class_names=list(CLASSES))
    folder = save_model(classifier, tmp_path / "m")
    alone = transformers.AutoModelForImageClassification.from_pretrained(folder)
    inputs = (IMAGES - classifier.mean) / classifier.std
    assert torch.equal(alone(inputs).logits, classifier(IMAGES))
    assert alone.config.id2label == dict(enumerate(CLASSES))
    assert load_model(f"transformers:{folder}").class_names == CLASSES


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing((SIZE, SIZE), crop_share=1.0, squash=True, interpolation="bilinear"),
        Preprocessing((SIZE, SIZE), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), crop_share=0.75),
        Preprocessing((SIZE, 64), crop_share=1.0),
    ],
    ids=str,
)
def test_transformers_prepares_photos_as_we_do(preprocessing, tmp_path):
    transformers = pytest.importorskip("transformers")
    classifier = Classifier(tiny_transformers(), preprocessing=preprocessing)
    folder = save_model(classifier, tmp_path / "m")
    noise = np.random.default_rng(0).integers(0, 255, (90, 130, 3)).astype(np.uint8)
    photo = Image.fromarray(noise).resize((130, 90), Image.Resampling.BILINEAR)
    theirs = transformers.AutoImageProcessor.from_pretrained(folder)(photo, return_tensors="pt")["pixel_values"]
    ours = (evaluation_transform(preprocessing)(photo)[None] - classifier.mean) / classifier.std
    assert theirs.shape == ours.shape
    assert (theirs - ours).abs().max() <= 1.5 / 255 / min(preprocessing.std)  # rounding to 8 bits
    read = load_model(folder).preprocessing
    assert replace(read, squash=preprocessing.squash) == preprocessing


def test_timm_models_of_transformers_are_prepared_as_timm_says(tmp_path):
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

    small = {"depth": 2, "embed_dim": 24, "num_heads": 3, "img_size": SIZE}
    config = TimmWrapperConfig(architecture="vit_tiny_patch16_224", model_args=small, num_labels=3)
    TimmWrapperForImageClassification(config).save_pretrained(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    timms = {"input_size": [3, SIZE, SIZE], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25], "crop_pct": 0.8}
    about["pretrained_cfg"] = timms | {"interpolation": "bilinear", "crop_mode": "center"}
    (tmp_path / "config.json").write_text(json.dumps(about))
    found = load_model(f"transformers:{tmp_path}")
    assert found.preprocessing == Preprocessing((SIZE, SIZE), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), 0.8, "bilinear")
    again = load_model(f"local-dir:{save_model(found, tmp_path / 'saved')}")
    assert torch.equal(again(IMAGES), found(IMAGES))
    bare = Preprocessing.of(TimmWrapperForImageClassification(config))
    assert (bare.input_size, bare.crop_share) == ((SIZE, SIZE), 0.9), "as timm says of the architecture"


def test_what_published_weights_change_in_a_network_is_kept(tmp_path):
    """GoogLeNet's and Inception's rescale their input, and lack the auxiliary heads."""
    made = load_model("torchvision:googlenet", pretrained=False, num_classes=3)
    network = made.network
    network.transform_input, network.aux_logits, network.aux1, network.aux2 = True, False, None, None
    again = load_model(f"local-dir:{save_model(made.eval(), tmp_path)}")
    assert again.network.transform_input
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(again.eval()(images), made(images))


def test_weights_that_do_not_fit_are_not_called_unknown(tmp_path):
    """A network with stages has "tag" in the names of its weights."""
    folder = save_model(Classifier(timm.create_model("convnext_atto", depths=(1, 1, 1, 1), num_classes=3)), tmp_path)
    weights = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in weights.items() if "stages.0" not in name}, folder / "model.safetensors")
    with pytest.raises(UserError) as error:
        load_model(f"local-dir:{folder}")
    assert "did you mean" not in str(error.value)
    assert "stages.0" in str(error.value)


def test_checkpoints_of_other_libraries(tmp_path):
    ours = tiny_transformers()
    ours.save_pretrained(tmp_path / "saved")  # names in its file are not those of the module
    torch.save(ours.state_dict(), tmp_path / "plain.pth")
    for file in (tmp_path / "saved" / "model.safetensors", tmp_path / "plain.pth"):
        blank = tiny_transformers()
        nn.init.zeros_(blank.classifier.weight)
        assert torch.equal(load_model(blank, checkpoint=file)(IMAGES), load_model(ours)(IMAGES))
    four = tiny_transformers()
    four.classifier = nn.Linear(24, 4)
    torch.save(four.state_dict(), tmp_path / "four.pth")
    assert count_head_classes(four.state_dict()) == 4
    loaded = load_model(tmp_path / "saved", checkpoint=tmp_path / "four.pth")
    assert loaded.num_classes == loaded(IMAGES).shape[1] == 4
    larger = tiny_torchvision()
    torch.save(VisionTransformer(96, 8, 2, 3, 24, 48, num_classes=3).state_dict(), tmp_path / "large.pth")
    with pytest.raises(UserError, match=r"it has encoder\.pos_embedding of shape \(1, 145, 24\), not \(1, 37, 24\)"):
        load_model(larger, checkpoint=tmp_path / "large.pth")
    assert count_head_classes(larger.state_dict()) == 3


def test_torchvision_by_name(tmp_path):
    made = load_model("torchvision:resnet18", pretrained=False, num_classes=5)
    assert made(IMAGES).shape == (2, 5)
    assert made.preprocessing == Preprocessing(
        (224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.875, "bilinear"
    )
    torch.save(made.network.state_dict(), tmp_path / "five.pth")
    assert load_model("torchvision:resnet18", checkpoint=tmp_path / "five.pth").num_classes == 5
    assert len(load_model("torchvision:resnet18", pretrained=False).class_names) == 1000
    for source, options, word in (
        ("torchvision:vit_b16", {}, "vit_b_16"),
        ("torchvision:vit_b_16/V9", {}, "IMAGENET1K_V1"),
        ("torchvision:vit_b_16", {"num_classes": 5}, "head of 1000 classes, not 5"),
    ):
        with pytest.raises(UserError, match=word):
            load_model(source, **options)


def test_torchvision_weights_bring_their_preset_and_names(monkeypatch):
    from torchvision.models import ResNet18_Weights

    state = resnet18().state_dict()
    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", lambda *_, **__: state)
    made = load_model("torchvision:resnet18")
    assert made.name_of(281) == "tabby"
    assert made.preprocessing.crop_share == 224 / 256


def test_zero_shot_is_open_clips_own(open_clip, tmp_path):
    model = open_clip.create_model("tiny-clip", pretrained=None).eval()
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    classifier = zero_shot(open_clip, checkpoint=tmp_path / "clip.pt")
    texts = open_clip.get_tokenizer("tiny-clip")
    with torch.no_grad():
        inputs = (IMAGES - classifier.mean) / classifier.std
        features = [
            model.encode_text(texts([form.format(name) for form in templates()]), normalize=True) for name in CLASSES
        ]
        means = torch.stack([found.mean(dim=0) for found in features])
        means = means / means.norm(dim=1, keepdim=True)
        expected = model.logit_scale.exp() * model.encode_image(inputs, normalize=True) @ means.T
        torch.testing.assert_close(classifier(IMAGES), expected)
    assert classifier.preprocessing.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert all(name.startswith("network.tower.") for name, _ in classifier.named_parameters())


def templates():
    from robustvit.models.libraries.open_clip import _TEMPLATES

    return _TEMPLATES


def test_zero_shot_with_a_bias_and_from_a_folder_of_open_clip(open_clip, tmp_path):
    biased = zero_shot(open_clip, "tiny-bias")
    assert float(biased.network.bias) == -10
    assert torch.equal(load_model(save_model(biased, tmp_path / "b"))(IMAGES), biased(IMAGES))
    model = open_clip.create_model("tiny-clip", pretrained=None).eval()
    folder = tmp_path / "theirs"
    folder.mkdir()
    config = {"embed_dim": 16, "vision_cfg": TOWER, "text_cfg": TEXT}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3}})
    )
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    loaded = load_model(f"open_clip:{folder}", class_names=list(CLASSES))
    assert loaded.preprocessing.mean == (0.5, 0.5, 0.5)
    assert torch.equal(loaded.network.tower(IMAGES), model.visual(IMAGES))
    assert torch.equal(load_model(save_model(loaded, tmp_path / "c"))(IMAGES), loaded(IMAGES))


def test_zero_shot_with_a_tower_of_timm(open_clip, tmp_path):
    made = zero_shot(open_clip, "tiny-timm")
    images = torch.rand(1, 3, 224, 224)
    assert torch.equal(load_model(save_model(made, tmp_path / "m"))(images), made(images))
    assert relevance(made, images, torch.tensor([1])).shape == (1, 1, 224, 224)


def test_open_clips_weights_bring_their_activation_and_statistics(open_clip, monkeypatch, tmp_path):
    model = open_clip.create_model("tiny-clip", pretrained=None)
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    tag = {"quick_gelu": True, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "resize_mode": "squash"}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: tag)
    made = zero_shot(open_clip, "tiny-clip/tag", checkpoint=tmp_path / "clip.pt")
    assert made.preprocessing == Preprocessing((SIZE, SIZE), crop_share=1.0, squash=True)
    assert any(type(module).__name__ == "QuickGELU" for module in made.modules())
    assert torch.equal(load_model(save_model(made, tmp_path / "m"))(IMAGES), made(IMAGES))


def test_class_names_from_a_file_and_where_they_do_not_belong(open_clip, tmp_path):
    (tmp_path / "names.txt").write_text("disc\nframe\n\nstripe\n")
    assert zero_shot(open_clip, class_names=tmp_path / "names.txt").class_names == CLASSES
    assert load_model(tiny_network(), class_names=str(tmp_path / "names.txt")).class_names == CLASSES
    assert load_model(tiny_network(), class_names="disc, frame,stripe").class_names == CLASSES
    saved = save_model(zero_shot(open_clip), tmp_path / "m")
    assert load_model(saved, class_names=list(CLASSES)).class_names == CLASSES
    for source, names, word in (
        (saved, ["a", "b", "c"], "already has class names"),
        (tiny_network(), ["a", "b"], "expected 3 class names"),
        (tiny_network(), ["a", "a", "b"], "each once"),
        (tiny_network(), "nowhere.txt", "as cat,dog or a text file .* found no file"),
        (tiny_network(), "disc,frame", "expected 3 class names"),
        (tiny_network(), ",".join(["long name"] * 1000), "each once"),
        ("open_clip:tiny-clip", None, "--checkpoint FILE"),
        ("open_clip:ViT-B-32/opena", None, "did you mean openai"),
        ("open_clip:ViT-B-3", None, "ViT-B-32"),
    ):
        with pytest.raises(UserError, match=word):
            load_model(source, class_names=names)


def test_bare_modules_from_python():
    vit = load_model(tiny_transformers())
    assert vit.preprocessing == Preprocessing((SIZE, SIZE), crop_share=1.0, squash=True)
    assert load_model(tiny_transformers("Dinov2")).preprocessing.mean == pytest.approx((0.485, 0.456, 0.406))
    named = tiny_transformers(id2label=dict(enumerate(CLASSES)))
    assert load_model(named).class_names == CLASSES
    assert vit.class_names == ()
    teacher = load_model(tiny_transformers("DeiT", "ForImageClassificationWithTeacher"))
    assert teacher(IMAGES).shape == (2, 3)
    network = tiny_torchvision()
    network.heads.head = nn.Linear(24, 7)
    seven = load_model(network)
    assert seven.num_classes == 7
    assert seven.preprocessing.input_size == (SIZE, SIZE)


@pytest.mark.parametrize("build", [tiny_network, tiny_transformers, tiny_torchvision])
def test_weights_that_share_memory_are_saved(build, tmp_path):
    network = build()
    blocks = find_layout(network).blocks
    blocks[1].mlp = blocks[0].mlp
    classifier = load_model(network)
    folder = save_model(classifier.to(memory_format=torch.channels_last), tmp_path / "m")
    assert torch.equal(load_model(folder)(IMAGES), classifier.to(memory_format=torch.contiguous_format)(IMAGES))
    assert "state_dict" not in vars(network)


class Own(nn.Module):
    """Somebody's own module: weights that are shared, a buffer that is not stored."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(3 * SIZE**2, 3), nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.head.weight
        self.register_buffer("offset", torch.ones(3), persistent=False)

    def forward(self, images):
        return self.head(self.second(self.first(images.flatten(1)))) + self.offset


def test_an_own_module_is_saved_and_says_how_to_load_it(tmp_path):
    network, how = Own(), {"preprocessing": {"mean": 0.5, "std": 0.5, "input_size": SIZE}}
    folder = save_model(load_model(network, **how), tmp_path / "best")
    with pytest.raises(UserError, match=r"load your own module, .*model\.safetensors"):
        load_model(folder)
    again = load_model(Own(), checkpoint=folder / "model.safetensors")  # the preprocessing lies beside it
    assert torch.equal(again(IMAGES), load_model(network, **how)(IMAGES))


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("transformers:google/vit-base-patch16-224", r"cannot fetch .*--model transformers:FOLDER"),
        ("open_clip:ViT-B-32/openai", "cannot fetch .*--checkpoint FILE"),
    ],
)
def test_without_a_network_the_way_out_is_the_librarys(source, word, monkeypatch, tmp_path):
    pytest.importorskip(source.split(":")[0])
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(UserError, match=word) as caught:
        load_model(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("library", ["transformers", "open_clip"])
def test_a_library_that_is_not_installed_is_named(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=rf"{library} is not installed: pip install 'robustvit\[{library}\]'"):
        load_model(f"{library}:anything")


def test_a_backbone_without_a_head_is_refused(tmp_path):
    tiny_transformers(head="Model").save_pretrained(tmp_path / "backbone")
    with pytest.raises(UserError, match="lack classifier"):
        load_model(tmp_path / "backbone")


def finetuned(model, photos, out, **options):
    images, masks = (str(place) for place in photos)
    settings = {"epochs": 1, "lr": 1e-3, "swaps": 1, "panels": 0, "validation_per_class": 2, "tracker": "none"}
    finetune(model=model, images=images, masks=masks, out=str(out), samples_per_class=1, **(settings | options))
    return load_model(out)


@pytest.mark.parametrize("library", ["transformers", "torchvision"])
def test_a_run_of_another_library_and_its_model(library, photos, tmp_path):
    network = {"transformers": tiny_transformers, "torchvision": tiny_torchvision}[library]()
    source = save_model(load_model(network, class_names=list(CLASSES)), tmp_path / "start")
    run = tmp_path / "run"
    tuned = finetuned(str(source), photos, run)
    assert tuned.class_names == CLASSES
    assert not torch.equal(tuned(IMAGES), load_model(source)(IMAGES))
    assert torch.equal(load_original(run)(IMAGES), load_model(source)(IMAGES))
    resumed = finetuned(str(source), photos, run, epochs=2, resume=True)
    assert resumed(IMAGES).isfinite().all()
    given = finetuned(network, photos, tmp_path / "given")
    assert torch.equal(given(IMAGES), tuned(IMAGES)), "a module from Python is the same model"
    assert given.class_names == CLASSES, "taken from the folders"


def test_a_zero_shot_run(open_clip, photos, tmp_path):
    model = open_clip.create_model("tiny-clip", pretrained=None)
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    start = {"checkpoint": str(tmp_path / "clip.pt"), "class_names": list(CLASSES)}
    run = tmp_path / "run"
    tuned = finetuned("open_clip:tiny-clip", photos, run, train="attention", **start)
    original = load_original(run)
    assert torch.equal(tuned.network.embeddings, original.network.embeddings)
    assert not torch.equal(tuned(IMAGES), original(IMAGES))
    images, masks = (str(place) for place in photos)
    found = evaluate(model="open_clip:tiny-clip", images=images, masks=masks, swaps=0, **start)
    assert found.measures
    photo = str(next(photos[0].glob("*/*.png")))
    shown = explain([photo], model="open_clip:tiny-clip", out=str(tmp_path / "pictures"), target="frame", **start)
    assert {name for name, _ in shown[0].top["model"]} == set(CLASSES)
