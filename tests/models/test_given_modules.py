"""Networks as people hold them: compiled, wrapped, adapted, with a head of their own."""

from __future__ import annotations

import copy
import sys
import types
from collections import OrderedDict

import pytest
import timm
import torch
from timm.data.loader import adapt_to_chs
from torch import nn
from torchvision.transforms import Normalize

from helpers.small_models import SIZE, tiny_network, tiny_torchvision, tiny_transformers
from robustvit import Classifier, UserError, load_model, relevance
from robustvit.models.families import find_layout
from robustvit.models.parameters import head_layers
from robustvit.models.preprocessing import Preprocessing
from robustvit.models.save import save_model

IMAGES = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def said(capsys):
    return " ".join(capsys.readouterr().err.split())


class Holder(nn.Module):
    """A custom module around a model."""

    def __init__(self, model, change=None, after=None):
        super().__init__()
        self.model, self.change, self.after = model, change, after

    def forward(self, images):
        out = self.model(images if self.change is None else self.change(images))
        return out if self.after is None else self.after(out)


def dotted(model):
    """Wrapped as PyTorch and its tools wrap a network."""
    model.compile()
    return model


WRAPPERS = {
    "compiled": torch.compile,
    "compiled in place": dotted,
    "data parallel": nn.DataParallel,
    "averaged": torch.optim.swa_utils.AveragedModel,
    "averaged by timm": timm.utils.ModelEmaV3,
    "compiled and parallel": lambda model: torch.compile(nn.DataParallel(model)),
    "own": Holder,
    "own, compiled inside": lambda model: Holder(torch.compile(model)),
    "sequential": nn.Sequential,
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("build", [tiny_network, tiny_transformers, tiny_torchvision])
def test_a_wrapped_model_is_the_model_inside(wrap, build, tmp_path):
    plain, given = build(), wrap(build())
    expected = load_model(plain)
    classifier = load_model(given)
    assert type(classifier.network) is type(plain)
    assert classifier.preprocessing == expected.preprocessing
    assert torch.equal(classifier(IMAGES), expected(IMAGES))
    assert relevance(classifier, IMAGES).shape == (2, 1, SIZE, SIZE)
    again = load_model(save_model(classifier, tmp_path / "m"))
    assert torch.equal(again(IMAGES), expected(IMAGES))


def test_what_is_given_does_not_change():
    given = Holder(torch.compile(tiny_network()))
    before = list(given.state_dict())
    load_model(given)
    assert list(given.state_dict()) == before
    assert given.training


def test_preprocessing_is_that_of_the_model_inside():
    network = timm.create_model("deit_tiny_patch16_224", img_size=SIZE, depth=1, num_classes=3)
    own = load_model(network).preprocessing
    assert own.mean == pytest.approx((0.485, 0.456, 0.406))
    for wrapped in (Holder(network, after=lambda x: 2 * x), nn.Sequential(network, nn.Hardtanh(-9, 9))):
        assert load_model(wrapped).preprocessing == own
        assert Classifier(wrapped).preprocessing == own


@pytest.mark.parametrize(
    ("change", "mean", "std"),
    [
        (Normalize((0.5,) * 3, (0.5,) * 3), 0.0, 1.0),
        (lambda x: 2 * x - 1, 0.0, 1.0),
        (lambda x: x / 127.5 - 1, 0.0, 1 / 255),
        (lambda x: x.contiguous(), 0.5, 0.5),
        (lambda x: x + 0, 0.5, 0.5),
    ],
)
def test_a_module_that_normalises_itself_is_given_what_it_takes(change, mean, std, capsys):
    """The settings of the model inside say what must arrive there."""
    plain = load_model(tiny_network())
    classifier = load_model(Holder(tiny_network(), change))
    assert classifier.preprocessing.mean == pytest.approx((mean,) * 3, abs=1e-5)
    assert classifier.preprocessing.std == pytest.approx((std,) * 3, rel=1e-4)
    assert torch.allclose(classifier(IMAGES), plain(IMAGES), atol=1e-4)
    assert ("normalises images itself" in said(capsys)) == (mean == 0)


@pytest.mark.parametrize("change", [lambda x: x.flip(1) ** 2, lambda x: x.sigmoid()])
def test_a_module_that_changes_images_otherwise_is_asked_about(change):
    with pytest.raises(UserError, match=r"Holder changes its images before .*--mean and --std"):
        load_model(Holder(tiny_network(), change))
    how = {"mean": [0.1, 0.2, 0.3], "std": 0.25}
    assert load_model(Holder(tiny_network(), change), preprocessing=how).preprocessing.mean == (0.1, 0.2, 0.3)


def test_nothing_is_guessed_for_a_module_that_nothing_is_known_of():
    network = nn.Sequential(nn.Conv2d(3, 4, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    for given in ({}, {"mean": 0.5, "std": 0.5}, {"input_size": 32}):
        with pytest.raises(UserError, match="nothing says how photos are prepared for Sequential: give --mean, --std"):
            load_model(network, preprocessing=given)
    with pytest.raises(UserError, match="nothing says how photos are prepared"):
        Classifier(network)
    made = load_model(network, preprocessing={"mean": "0.5", "std": (1, 2, 3), "input_size": "32x48"})
    assert made.preprocessing == Preprocessing((32, 48), (0.5,) * 3, (1.0, 2.0, 3.0))
    assert made.num_classes == 5


def test_the_given_size_and_statistics_count_before_the_models_own(model_folder, tmp_path):
    how = {"mean": 0.1, "std": 0.2, "interpolation": "bilinear"}
    found = load_model(model_folder, preprocessing=how).preprocessing
    own = load_model(model_folder).preprocessing
    assert (found.mean, found.std, found.interpolation) == ((0.1,) * 3, (0.2,) * 3, "bilinear")
    assert (found.input_size, found.crop_share) == (own.input_size, own.crop_share)
    for wrong, word in (
        ({"mean": "a,b,c"}, "--mean as 1 or 3 numbers"),
        ({"std": 0}, "--std of finite numbers above 0"),
        ({"input_size": 0}, "--input-size of whole pixels"),
        ({"input_size": 1e9}, "--input-size of whole pixels"),
        ({"interpolation": "cubic"}, "did you mean bicubic"),
        ({"sdt": 1}, "did you mean std"),
    ):
        with pytest.raises(UserError, match=word):
            load_model(model_folder, preprocessing=wrong)
    for source in (tiny_network(), tiny_torchvision(), save_model(Classifier(tiny_torchvision()), tmp_path / "m")):
        with pytest.raises(UserError, match=r"fails on images of 3 x 96 x 96 pixels .*--input-size"):
            load_model(source, preprocessing={"input_size": 96})
    larger = load_model(model_folder, preprocessing={"input_size": 96})
    assert larger(torch.rand(1, 3, 96, 96)).shape == (1, 3), "timm builds it for another size"


def test_lightning_modules(capsys):
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = tiny_network()
            self.loss = nn.CrossEntropyLoss(weight=torch.ones(3))

    class WithForward(Module):
        def forward(self, images):
            return self.model(images)

    expected = load_model(tiny_network())
    for module in (Module(), WithForward()):
        classifier = load_model(module)
        assert torch.equal(classifier(IMAGES), expected(IMAGES))
        assert classifier.preprocessing == expected.preprocessing
    assert "Module has no forward" in said(capsys)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_number_types_become_float32_in_a_copy(dtype):
    network = tiny_network().to(dtype)
    classifier = load_model(network)
    assert classifier(IMAGES).dtype == torch.float32
    assert next(network.parameters()).dtype == dtype
    assert torch.allclose(classifier(IMAGES), load_model(tiny_network())(IMAGES), atol=0.05)


def test_an_adapter_is_merged_into_a_copy(monkeypatch, tmp_path):
    """As peft does it: its model holds the network with changed layers, and can merge them."""

    class Adapted(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.base_model = network

        def forward(self, images):
            return self.base_model(images) + 1

        def merge_and_unload(self):
            with torch.no_grad():
                self.base_model.head.bias += 1
            return self.base_model

    Adapted.__module__ = "peft.peft_model"
    monkeypatch.setitem(sys.modules, "peft", types.ModuleType("peft"))
    given = Adapted(tiny_network())
    classifier = load_model(given)
    assert torch.allclose(classifier(IMAGES), load_model(tiny_network())(IMAGES) + 1)
    assert torch.equal(given.base_model.head.bias, tiny_network().head.bias)
    assert torch.equal(load_model(save_model(classifier, tmp_path / "m"))(IMAGES), classifier(IMAGES))
    monkeypatch.delattr(Adapted, "merge_and_unload")
    with pytest.raises(UserError, match="an adapter that cannot be merged"):
        load_model(given)


class NoGradient(Holder):
    @torch.no_grad()
    def forward(self, images):
        return super().forward(images)


class Frozen(nn.Module):
    """A backbone that runs without gradients, and a trained head."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = tiny_network(0), nn.Linear(24, 3)

    def forward(self, images):
        with torch.no_grad():
            features = self.backbone(images)
        return self.head(features)


@pytest.mark.parametrize("build", [lambda: NoGradient(tiny_network()), Frozen])
def test_a_network_without_gradients_is_refused_in_one_line(build):
    with pytest.raises(UserError, match=r"lets no gradient through .* torch\.no_grad"):
        load_model(build())


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_other_channels_are_refused_in_one_line(channels, tmp_path, caplog):
    network = tiny_network(in_chans=channels)
    with pytest.raises(UserError, match=f"takes images of {channels} channels, photos have 3"):
        load_model(network)
    folder = save_model(Classifier(network, preprocessing=Preprocessing((SIZE, SIZE))), tmp_path / "m")
    with pytest.raises(UserError, match=f"takes images of {channels} channels, photos have 3"):
        load_model(folder)
    assert not caplog.records


def as_grey(images):
    """Second implementation of the conversion, in float64."""
    red, green, blue = images.double().unbind(dim=1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


GREY = {
    "timm": lambda: tiny_network(in_chans=1),
    "transformers": lambda: tiny_transformers(num_channels=1),
    "own module": lambda: nn.Sequential(nn.Conv2d(1, 8, 8, 8), nn.Flatten(), nn.Linear(8 * (SIZE // 8) ** 2, 3)),
}


@pytest.mark.parametrize("kind", GREY)
def test_a_model_of_one_channel_sees_photos_in_grey(kind, tmp_path, capsys):
    network = GREY[kind]()
    given = {"preprocessing": {"mean": 0.4, "std": 0.2, "input_size": SIZE}} if kind == "own module" else {}
    model = load_model(network, **given)
    assert "takes images of one channel: colour photos become grey for it" in " ".join(capsys.readouterr().err.split())
    settings = model.preprocessing
    assert settings.channels == len(settings.std) == 1
    with torch.no_grad():
        wanted = network(((as_grey(IMAGES) - settings.mean[0]) / settings.std[0]).float())
        assert torch.allclose(model(IMAGES), getattr(wanted, "logits", wanted), atol=1e-5)
        assert torch.allclose(model(IMAGES), model(as_grey(IMAGES).float()), atol=1e-5), "grey tensors are taken too"
        if kind != "own module":
            again = load_model(save_model(model, tmp_path / "m"))
            assert again.preprocessing == settings
            assert torch.allclose(again(IMAGES), model(IMAGES), atol=1e-5)


def test_a_module_that_makes_photos_grey_itself_receives_colours():
    network = tiny_network(in_chans=1)
    whole = load_model(Holder(network, lambda x: x.mean(dim=1, keepdim=True)), preprocessing={"mean": 0, "std": 1})
    with torch.no_grad():
        assert torch.allclose(whole(IMAGES), network(IMAGES.mean(dim=1, keepdim=True)), atol=1e-5)


def test_three_means_become_one_as_timm_takes_them():
    network = tiny_network(in_chans=1)
    found = load_model(network, preprocessing={"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}).preprocessing
    assert found.mean == pytest.approx(adapt_to_chs((0.485, 0.456, 0.406), 1))
    assert found.std == pytest.approx(adapt_to_chs((0.229, 0.224, 0.225), 1))
    assert found.as_timm()["input_size"] == (1, SIZE, SIZE)


HEADS = {
    "linear": lambda: nn.Linear(24, 5),
    "dropout": lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(24, 5)),
    "two layers": lambda: nn.Sequential(nn.Linear(24, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 5, bias=False)),
    "named": lambda: nn.Sequential(OrderedDict(norm=nn.BatchNorm1d(24), out=nn.Linear(24, 5))),
}


def with_head(build, head):
    torch.manual_seed(1)
    network = build()
    place = {tiny_network: "head", tiny_transformers: "classifier", tiny_torchvision: "heads"}[build]
    setattr(network, place, head())
    return network


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("build", [tiny_network, tiny_transformers, tiny_torchvision])
def test_a_head_put_there_by_hand_counts_and_is_saved_as_what_it_is(build, head, tmp_path):
    network = with_head(build, head)
    classifier = load_model(network)
    assert classifier.num_classes == classifier(IMAGES).shape[1] == 5
    assert classifier.class_names == ()
    named = load_model(network, class_names="a,b,c,d,e")
    folder = save_model(named, tmp_path / "m")
    again = load_model(folder)
    assert torch.equal(again(IMAGES), classifier(IMAGES))
    assert (again.class_names, again.preprocessing) == (tuple("abcde"), classifier.preprocessing)
    assert [layer.out_features for layer in head_layers(again)] == [5]
    state = {f"module.{name}": one for name, one in network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    assert torch.equal(load_model(folder, checkpoint=tmp_path / "w.pth")(IMAGES), classifier(IMAGES))


def test_a_single_layer_stays_a_model_of_its_library(tmp_path):
    folder = save_model(load_model(with_head(tiny_network, HEADS["linear"])), tmp_path / "timm")
    assert timm.create_model(f"local-dir:{folder}", pretrained=True).num_classes == 5
    transformers = pytest.importorskip("transformers")
    folder = save_model(load_model(with_head(tiny_transformers, HEADS["linear"])), tmp_path / "transformers")
    assert transformers.AutoModelForImageClassification.from_pretrained(folder).config.num_labels == 5


class OnBackbone(nn.Module):
    """A linear layer on features of a backbone."""

    def __init__(self, backbone, features, width=24):
        super().__init__()
        torch.manual_seed(2)
        self.fc = nn.Linear(width, 5)
        self.backbone, self.features = backbone, features

    def forward(self, images):
        return self.fc(self.features(self.backbone, images))


def headless_torchvision():
    network = tiny_torchvision()
    network.heads = nn.Identity()
    return network


JOINED = {
    "timm": lambda: nn.Sequential(tiny_network(0), nn.Dropout(0.5), nn.Linear(24, 5)),
    "timm, own": lambda: OnBackbone(tiny_network(0), lambda net, x: net(x)),
    "torchvision": lambda: OnBackbone(headless_torchvision(), lambda net, x: net(x)),
}


@pytest.mark.parametrize("build", JOINED.values(), ids=JOINED)
def test_a_backbone_and_a_head_become_one_model_of_the_library(build, tmp_path):
    given = build().eval()
    classifier = load_model(given)
    assert torch.equal(classifier(IMAGES), given((IMAGES - classifier.mean) / classifier.std))
    assert type(classifier.network).__name__ == "VisionTransformer"
    assert relevance(classifier, IMAGES).std() > 0
    assert torch.equal(load_model(save_model(classifier, tmp_path / "m"))(IMAGES), classifier(IMAGES))
    torch.save(given.state_dict(), tmp_path / "w.pth")
    assert torch.equal(load_model(build(), checkpoint=tmp_path / "w.pth")(IMAGES), classifier(IMAGES))


READ = {
    "class token": (lambda: tiny_network(0), lambda net, x: net.forward_features(x)[:, 0], "class"),
    "patches": (lambda: tiny_network(0), lambda net, x: net.forward_features(x)[:, 1:].mean(dim=1), "patches"),
    "transformers": (lambda: tiny_transformers(head="Model"), lambda net, x: net(x).last_hidden_state[:, 0], "class"),
    "pooled": (
        lambda: tiny_transformers("Dinov2", head="Model"),
        lambda net, x: net(pixel_values=x).last_hidden_state[:, 1:].mean(dim=1),
        "patches",
    ),
}


@pytest.mark.parametrize(("backbone", "features", "readout"), READ.values(), ids=READ)
def test_the_tokens_that_a_head_of_ones_own_reads_are_measured(backbone, features, readout, tmp_path):
    classifier = load_model(OnBackbone(backbone(), features))
    assert classifier.num_classes == 5
    assert find_layout(classifier).readout == readout
    assert relevance(classifier, IMAGES).std() > 0
    folder = save_model(classifier, tmp_path / "m")
    again = load_model(OnBackbone(backbone(), features), checkpoint=folder / "model.safetensors")
    assert torch.equal(again(IMAGES), classifier(IMAGES))


def test_a_readout_that_cannot_be_told_is_asked_about():
    def both(net, x):
        tokens = net.forward_features(x)
        return torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)

    classifier = load_model(OnBackbone(tiny_network(0), both, 48))
    assert classifier(IMAGES).shape == (2, 5)
    with pytest.raises(UserError, match="register_family"):
        relevance(classifier, IMAGES)
    assert relevance(classifier, IMAGES, method="input_gradient").shape == (2, 1, SIZE, SIZE)


def test_a_tower_of_open_clip_with_a_head_of_ones_own():
    library = pytest.importorskip("open_clip.transformer")
    tower = library.VisionTransformer(
        image_size=SIZE, patch_size=8, width=24, layers=2, heads=3, mlp_ratio=2, output_dim=24
    )
    given = nn.Sequential(tower, nn.Linear(24, 5))
    with pytest.raises(UserError, match="nothing says how photos are prepared"):
        load_model(given)
    tower.preprocess_cfg = {"size": SIZE, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
    classifier = load_model(given)
    assert classifier.preprocessing.mean == (0.4, 0.5, 0.6)
    assert find_layout(classifier).readout == "class"
    assert relevance(classifier, IMAGES).shape == (2, 1, SIZE, SIZE)


def test_a_backbone_alone_has_no_logit_to_explain():
    for network in (tiny_network(0), Holder(tiny_network(0))):
        with pytest.raises(UserError, match="no classification head"):
            find_layout(load_model(network))


def test_a_classifier_inside_something_else():
    own = Classifier(tiny_network(), class_names=("a", "b", "c"))
    assert load_model(nn.DataParallel(own)) is own
    held = load_model(Holder(own, after=lambda x: 2 * x))
    assert torch.allclose(held(IMAGES), 2 * own(IMAGES), atol=1e-5), "normalised once"


def test_deep_copies_keep_what_was_measured():
    classifier = copy.deepcopy(load_model(OnBackbone(tiny_network(0), READ["patches"][1])))
    assert find_layout(classifier).readout == "patches"
    assert classifier.num_classes == 5
