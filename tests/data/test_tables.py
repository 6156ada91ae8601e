"""Photos of split files, parquet files, sets of the hub and of FiftyOne: what each row becomes, and what is asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from robustvit import UserError
from robustvit.common.photo_options import ColumnOptions
from robustvit.data.find_photos import MaskRules, find_photos
from robustvit.data.photo import expect_photos
from robustvit.data.pixels import PLAIN
from robustvit.data.placed_photos import place_photos

ANIMALS = ("cat", "cow", "dog")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two photos of each class, and masks of the same names."""
    monkeypatch.setenv("ROBUSTVIT_CACHE", str(tmp_path / "cache"))
    for number, name in enumerate(ANIMALS):
        for index in range(2):
            for kind, mode, colour in (("photos", "RGB", (80 * number, index, 9)), ("masks", "L", 255 * index)):
                path = tmp_path / kind / name / f"{name}{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new(mode, (8, 8), colour).save(path)
    return tmp_path


def bytes_of(folder, name="cat0", kind="photos"):
    return (folder / kind / name[:3] / f"{name}.png").read_bytes()


def read(source, **options):
    """Names and classes of the photos, and the notes."""
    notes = []
    found = find_photos(source, notes=notes, **options)
    return [(photo.image.name, photo.class_name) for photo in found], notes


def columns(**named):
    return ColumnOptions(**{f"{name}_column": value for name, value in named.items()})


RIGHT = [(f"{name}{index}.png", name) for name in ANIMALS for index in range(2)]
NAMES = [f"photos/{name[:3]}/{name}" for name, _ in RIGHT]
LINES = list(zip(NAMES, [label for _, label in RIGHT], strict=True))


def write(folder, line, name="train.txt"):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(line.format(image=image, label=label) + "\n" for image, label in LINES))
    return path


@pytest.mark.parametrize("line", ["{image} {label}", "{image}\t{label}", "{image},{label}", '"{image}" {label}'])
def test_split_files_name_a_photo_and_its_class(folder, line):
    assert read(write(folder, line)) == (RIGHT, [])


def test_the_folder_is_the_class_where_a_split_file_names_none(folder):
    found, notes = read(write(folder, "{image}"))
    assert found == RIGHT
    assert notes == ["train.txt names no classes: the folder of each photo is its class (photos/cat/cat0.png: cat)."]
    (folder / "flat.txt").write_text("photos/cat/cat0.png\n")
    (folder / "images").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "images" / "a.png")
    (folder / "flat.txt").write_text("images/a.png\n")
    with pytest.raises(UserError, match="expected a class for every photo"):
        read(folder / "flat.txt")


def test_spaces_in_paths_and_classes(folder):
    (folder / "photos" / "cat" / "cat0.png").rename(folder / "photos" / "cat" / "cat 0 1.png")
    (folder / "train.txt").write_text("photos/cat/cat 0 1.png tabby cat\nphotos/dog/dog0.png dog\n\n")
    found, notes = read(folder / "train.txt")
    assert found == [("cat 0 1.png", "tabby cat"), ("dog0.png", "dog")]
    assert "3 rows seen, 2 read, 1 left out: 1 without any text (line 3)" in notes[0]


def test_split_files_in_a_folder_beside_that_of_the_photos(folder):
    (folder / "photos").rename(folder / "images")
    path = folder / "meta" / "train.txt"
    path.parent.mkdir()
    path.write_text("cat/cat0\ndog/dog1\n")
    found, notes = read(path)
    assert found == [("cat0.png", "cat"), ("dog1.png", "dog")]
    assert "looked for in the folders beside it (cat/cat0 is ../images/cat/cat0.png)" in notes[1]


def test_split_files_that_cannot_be_told(folder):
    (folder / "images.txt").write_text("1 photos/cat/cat0.png\n")
    with pytest.raises(UserError, match=r"line 1: expected PATH LABEL or PATH.* the path comes last"):
        read(folder / "images.txt")
    (folder / "images.txt").write_text("photos/cat/cat0.png 1\nphotos/cat/gone.png 1\n")
    with pytest.raises(UserError, match=r"line 2: .* no photo lies there"):
        read(folder / "images.txt")
    (folder / "images.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match="as a list in UTF-8"):
        read(folder / "images.txt")


@pytest.mark.parametrize("root", ["C:\\Users\\Anna B\\set\\", "\\\\server\\share\\", "/home/anna/set/", "D:/x/"])
@pytest.mark.parametrize(("name", "line"), [("a.csv", "{image},{label}"), ("a.txt", "{image} {label}")])
def test_paths_of_another_machine_are_found_if_all_are_here(folder, root, name, line):
    head = "image,label\n" if name == "a.csv" else ""
    names = [root + (image.replace("/", "\\") if "\\" in root else image) for image, _ in LINES]
    rows = [line.format(image=image, label=label) for image, (_, label) in zip(names, LINES, strict=True)]
    (folder / name).write_text(head + "\n".join(rows))
    found, notes = read(folder / name)
    assert found == RIGHT
    assert f"{name}: paths of another machine, {root.replace(chr(92), '/')}: 6 files found" in notes[0]
    (folder / name).write_text(head + "\n".join([*rows, rows[0].replace("cat0", "gone")]))
    with pytest.raises(UserError, match=r"does not exist|no photo lies there"):
        read(folder / name)


def test_a_part_of_a_list(folder):
    rows = "".join(f"{image},{label},{'train' if '0' in image else 'val'}\n" for image, label in LINES)
    (folder / "all.csv").write_text("image,label,split\n" + rows)
    assert read(f"{folder / 'all.csv'}#val") == ([one for one in RIGHT if "1" in one[0]], [])
    assert "all.csv#train takes one part" in read(folder / "all.csv")[1][0]
    with pytest.raises(UserError, match=r"rows of the part 'test' in .*, its column split has train, val"):
        read(f"{folder / 'all.csv'}#test")
    (folder / "odd#1.csv").write_text("image,label\n" + rows.replace(",train", "").replace(",val", ""))
    assert read(folder / "odd#1.csv")[0] == RIGHT, "a file of that name is the file"
    with pytest.raises(UserError, match="expected a column split"):
        read(f"{folder / 'odd#1.csv'}#val")
    with pytest.raises(UserError, match="expected no #val behind a folder"):
        expect_photos(f"{folder / 'photos'}#val")


def test_columns_that_the_user_names(folder):
    rows = "".join(f"{image},{label},7\n" for image, label in LINES)
    (folder / "a.csv").write_text("picture,race,age\n" + rows)
    assert read(folder / "a.csv", columns=columns(image="picture", label="Race"))[0] == RIGHT
    with pytest.raises(UserError, match="name the column of the photos with --image-column"):
        read(folder / "a.csv")
    with pytest.raises(UserError, match=r"--label-column to be a column of .*, got 'breed': its columns are 'picture'"):
        read(folder / "a.csv", columns=columns(image="picture", label="breed"))
    (folder / "b.csv").write_text("image,class,category\n" + rows)
    with pytest.raises(UserError, match="name the right one with --label-column"):
        read(folder / "b.csv")
    assert read(folder / "b.csv", columns=columns(label="class"))[0] == RIGHT
    with pytest.raises(UserError, match="--label-column belongs to a list or a set"):
        read(folder / "photos", columns=columns(label="class"))


def test_masks_in_a_folder_beside_a_list(folder):
    path = write(folder, "{image} {label}")
    found = find_photos(path, folder / "masks")
    assert all(photo.mask.name == photo.image.name for photo in found)
    (folder / "few.txt").write_text("photos/cat/cat0.png cat\n")
    notes = []
    assert find_photos(folder / "few.txt", folder / "masks", notes=notes)[0].mask == folder / "masks/cat/cat0.png"
    assert "5 masks in masks of photos that are not listed" in notes[-1]
    (folder / "masks" / "dog" / "dog1.png").unlink()
    with pytest.raises(UserError, match="image without a mask"):
        find_photos(path, folder / "masks")
    assert len(find_photos(path, folder / "masks", rules=MaskRules(skip_unmasked=True))) == 5
    (folder / "other").mkdir()
    Image.new("L", (8, 8)).save(folder / "other" / "z.png")
    with pytest.raises(UserError, match="none has the path or name of one"):
        find_photos(path, folder / "other")
    (folder / "a.csv").write_text("image,label,mask\nphotos/cat/cat0.png,cat,masks/cat/cat0.png\n")
    with pytest.raises(UserError, match="has both: leave one of them out"):
        find_photos(folder / "a.csv", folder / "masks")


def parquet(file, metadata=None, **cells):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table(cells)
    parquet.write_table(table.replace_schema_metadata(metadata), file)
    return file


def test_parquet_with_pictures_of_pandas(folder):
    path = parquet(folder / "a.parquet", image=[bytes_of(folder, "cat0"), bytes_of(folder, "dog1")], label=["a", "b"])
    found = find_photos(path)
    assert [photo.class_name for photo in found] == ["a", "b"]
    assert [photo.image.read_bytes() for photo in found] == [bytes_of(folder, "cat0"), bytes_of(folder, "dog1")]
    assert found[0].image.is_relative_to(folder / "cache"), "written where ROBUSTVIT_CACHE says"
    before = found[0].image.stat().st_mtime_ns
    assert find_photos(path)[0].image.stat().st_mtime_ns == before, "not written twice"


def test_parquet_as_datasets_writes_it(folder, capsys):
    pictures = [{"bytes": bytes_of(folder, name), "path": f"{name[:3]}.png"} for name in ("cat0", "cat1", "dog1")]
    masks = [{"bytes": bytes_of(folder, name, "masks"), "path": None} for name in ("cat0", "cat1", "dog1")]
    features = {
        "image": {"_type": "Image"},
        "mask": {"_type": "Image"},
        "cls": {"_type": "ClassLabel", "names": ["x", "y"]},
    }
    noted = {"huggingface": json.dumps({"info": {"features": features}})}
    path = parquet(folder / "a.parquet", noted, image=pictures, mask=masks, cls=[0, 0, 1])
    found = find_photos(path)
    assert [(photo.image.name, photo.class_name) for photo in found] == [
        ("cat.png", "x"), ("cat-000001.png", "x"), ("dog.png", "y")
    ]  # fmt: skip
    assert [photo.mask.read_bytes() for photo in found] == [cell["bytes"] for cell in masks]
    assert "6 pictures written to" in " ".join(capsys.readouterr().err.split())


def test_parquet_with_paths(folder):
    path = parquet(folder / "a.parquet", path=NAMES, label=[label for _, label in RIGHT])
    assert read(path) == (RIGHT, [])
    found, notes = read(
        parquet(folder / "b.parquet", image=[{"path": NAMES[0], "bytes": None}, None], label=["a", "b"])
    )
    assert found == [("cat0.png", "a")]
    assert "2 rows seen, 1 read, 1 left out: 1 without a photo (row 2)" in notes[0]


def test_parquet_that_cannot_be_told(folder, monkeypatch):
    two = [bytes_of(folder)]
    path = parquet(folder / "a.parquet", left=two, right=two, label=["a"])
    with pytest.raises(UserError, match=r"two columns of .* could be the image, 'left' and 'right': .*--image-column"):
        read(path)
    found, notes = read(path, columns=columns(image="left"))
    assert (len(found), notes) == (
        1,
        ["a.parquet: pictures in right are not used; --mask-column takes one of them as masks."],
    )
    with pytest.raises(UserError, match=r"row 1 of .* holds no picture that can be read in its column image"):
        read(parquet(folder / "b.parquet", image=[b"text"], label=["a"]))
    (folder / "c.parquet").write_text("PAR1")
    with pytest.raises(UserError, match=r"cannot read .* as parquet"):
        read(folder / "c.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"needs pyarrow, which is not installed: pip install 'robustvit\[parquet\]'"):
        read(path)


def test_a_folder_of_parquet_files_says_how_to_read_them(folder):
    (folder / "data").mkdir()
    parquet(folder / "data" / "train-00000.parquet", image=[bytes_of(folder)], label=["a"])
    with pytest.raises(UserError, match=r"name the parquet file itself, or hf:.*data for a set of several"):
        read(folder / "data")
    pytest.importorskip("datasets")
    assert read(f"hf:{folder / 'data'}")[0] == [("000000.png", "a")]


def test_names_in_a_parquet_file_lead_nowhere_else(folder):
    path = parquet(
        folder / "a.parquet",
        image=[{"bytes": bytes_of(folder), "path": name} for name in ("../../up.png", "C:\\.b.png", "")],
        label=["a", "b", "c"],
    )
    assert [photo.image.relative_to(folder / "cache").parts[2:] for photo in find_photos(path)] == [
        ("image", "up.png"), ("image", "b.png"), ("image", "000002.png")
    ]  # fmt: skip


def test_a_set_in_a_folder_is_read_through_datasets(folder):
    pytest.importorskip("datasets")
    found, notes = read(f"hf:{folder / 'photos'}")
    assert (sorted(found), notes) == (RIGHT, [])
    (folder / "set" / "test" / "cat").mkdir(parents=True)
    (folder / "photos").rename(folder / "set" / "train")
    Image.new("RGB", (8, 8)).save(folder / "set" / "test" / "cat" / "t.png")
    with pytest.raises(UserError, match=r"has the parts train, test: name one, hf:.*#train"):
        read(f"hf:{folder / 'set'}")
    assert sorted(read(f"hf:{folder / 'set'}#train")[0]) == RIGHT
    with pytest.raises(UserError, match=r"got 'tset': .* did you mean test\?"):
        read(f"hf:{folder / 'set'}#tset")


def test_a_set_saved_by_datasets(folder):
    datasets = pytest.importorskip("datasets")
    cells = {"photo": [str(folder / name) for name in NAMES[:2]], "fine": [0, 1], "coarse": [0, 0]}
    kinds = {
        "photo": datasets.Image(),
        "fine": datasets.ClassLabel(names=["a", "b"]),
        "coarse": datasets.ClassLabel(names=["c"]),
    }
    made = datasets.Dataset.from_dict(cells, datasets.Features(kinds))
    made.save_to_disk(folder / "saved")
    source = f"hf:{folder / 'saved'}"
    with pytest.raises(
        UserError, match="could be the label, 'fine' and 'coarse': name the right one with --label-column"
    ):
        read(source)
    assert read(source, columns=columns(label="fine"))[0] == [("cat0.png", "a"), ("cat1.png", "b")]


def test_rows_of_the_hub_are_kept_until_it_has_newer_ones(folder, monkeypatch, capsys):
    datasets = pytest.importorskip("datasets")
    from huggingface_hub import HfApi

    made = datasets.Dataset.from_dict(
        {"image": [{"bytes": bytes_of(folder, "cat0"), "path": None}], "label": ["cat"]},
        datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")}),
    )
    asked, newest = [], {"sha": "one"}

    def load_dataset(*names, streaming, revision):
        asked.append((names, revision))
        return {"train": made.to_iterable_dataset()}

    def dataset_info(self, name):
        assert name == "ann/animals"
        if newest["sha"] is None:
            raise ConnectionError("offline")
        return SimpleNamespace(sha=newest["sha"])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(HfApi, "dataset_info", dataset_info)
    for _ in range(2):
        assert read("hf:ann/animals/small")[0] == [("000000.png", "cat")]
    assert asked == [(("ann/animals", "small"), "one")]
    newest["sha"] = None
    assert read("hf:ann/animals/small")[0] == [("000000.png", "cat")]
    assert "the hub cannot be reached, the rows kept in" in " ".join(capsys.readouterr().err.split())
    newest["sha"] = "two"
    picture = find_photos("hf:ann/animals/small")[0].image
    assert asked[1:] == [(("ann/animals", "small"), "two")]
    picture.unlink()
    assert find_photos("hf:ann/animals/small")[0].image.is_file(), "a picture that was removed is fetched again"


def test_a_set_that_cannot_be_reached(folder, monkeypatch):
    pytest.importorskip("datasets")
    with pytest.raises(UserError, match=r"cannot read hf:nobody/nothing: .*; check the name, the connection"):
        read("hf:nobody/nothing")
    with pytest.raises(UserError, match=r"found none at ./gone"):
        expect_photos("hf:./gone")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs datasets, which is not installed: pip install 'robustvit\[sets\]'"):
        read(f"hf:{folder / 'photos'}")


class Samples(list):
    """A data set of FiftyOne, as far as it is read here."""

    def get_field_schema(self, embedded_doc_type):
        return {name: None for name in self[0].kinds if self[0].kinds[name] is embedded_doc_type}

    def match_tags(self, tag):
        return Samples(one for one in self if tag in one.tags)


class Sample(dict):
    kinds: dict[str, type]

    def __init__(self, path, tag, kinds, **fields):
        super().__init__(fields)
        self.filepath, self.tags, self.kinds = str(path), [tag], kinds


@pytest.fixture
def fiftyone(folder, monkeypatch):
    class Classification(SimpleNamespace):
        pass

    class Segmentation(SimpleNamespace):
        pass

    kinds = {"ground_truth": Classification, "outline": Segmentation}
    data = Samples()
    for index, (name, label) in enumerate(LINES):
        outline = Segmentation(mask_path=None, mask=np.full((8, 8), index > 2))
        if index == 0:
            outline = Segmentation(mask_path=str(folder / "masks/cat/cat0.png"), mask=None)
        tag = "train" if index % 2 else "test"
        data.append(Sample(folder / name, tag, kinds, ground_truth=Classification(label=label), outline=outline))
    module = ModuleType("fiftyone")
    module.Classification, module.Segmentation = Classification, Segmentation
    module.list_datasets, module.load_dataset = lambda: ["animals"], {"animals": data}.__getitem__
    monkeypatch.setitem(sys.modules, "fiftyone", module)
    return folder


def test_a_data_set_of_fiftyone(fiftyone, monkeypatch):
    assert read("fiftyone:animals") == (RIGHT, [])
    assert read("fiftyone:animals#train")[0] == RIGHT[1::2]
    found = find_photos("fiftyone:animals", columns=columns(mask="outline"))
    assert found[0].mask == fiftyone / "masks/cat/cat0.png"
    assert [np.array(Image.open(photo.mask)).max() for photo in found[1:]] == [0, 0, 255, 255, 255]
    with pytest.raises(UserError, match=r"found no 'animal': did you mean animals\?"):
        read("fiftyone:animal")
    with pytest.raises(UserError, match="with the tag 'val', found none"):
        read("fiftyone:animals#val")
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(UserError, match=r"needs fiftyone, which is not installed: pip install 'robustvit\[fiftyone\]'"):
        read("fiftyone:animals")


def test_masks_of_a_list_mirror_the_paths_in_it(folder):
    path = write(folder, "{image} {label}")
    photos, problems, root = place_photos(str(path), "unused", PLAIN, ColumnOptions())
    assert [photo.mask for photo in photos] == [Path(name) for name in NAMES]
    assert (root, problems) == (folder, [])
    (folder / "cat0.jpg").write_bytes(bytes_of(folder))
    (folder / "cat0.png").write_bytes(bytes_of(folder))
    (folder / "two.csv").write_text("image,label\ncat0.jpg,a\ncat0.png,a\n")
    _, problems, _ = place_photos(str(folder / "two.csv"), "unused", PLAIN, ColumnOptions())
    assert ["has the same mask; rename one" in line for line in problems] == [True]


def test_a_list_of_photos_elsewhere_has_masks_by_what_they_share(folder):
    (folder / "lists").mkdir()
    path = folder / "lists" / "a.csv"
    path.write_text("image,label\n" + "".join(f"{folder / image},{label}\n" for image, label in LINES))
    photos, _, root = place_photos(str(path), "unused", PLAIN, ColumnOptions())
    assert root == folder / "photos"
    assert photos[0].mask == Path("cat/cat0.png")
    assert all(photo.mask for photo in find_photos(path, folder / "masks"))


@pytest.fixture
def set_of_photos(photos, tmp_path, monkeypatch):
    """A parquet file with photos, masks and classes under odd names, and a list of the same photos."""
    monkeypatch.setenv("ROBUSTVIT_CACHE", str(tmp_path / "cache"))
    images, masks = photos
    files = [path for folder in sorted(images.iterdir()) for path in sorted(folder.iterdir())[:2]]
    outlines = [next((masks / path.parent.name).glob(f"{path.stem}.*")) for path in files]
    cells = {"a": [path.read_bytes() for path in files], "b": [path.read_bytes() for path in outlines]}
    cells["kind"] = [path.parent.name for path in files]
    parquet(tmp_path / "a.parquet", **cells)
    (tmp_path / "list.csv").write_text("image,label\n" + "".join(f"{path},{path.parent.name}\n" for path in files))
    return tmp_path


NAMED = {"image_column": "a", "label_column": "kind", "mask_column": "b"}


def test_commands_read_them_all_the_same(set_of_photos, photos, model_folder):
    pytest.importorskip("datasets")
    import robustvit

    model, images, masks = str(model_folder), str(photos[0]), str(photos[1])
    from_file = robustvit.evaluate(
        model=model, images=str(set_of_photos / "a.parquet"), swaps=1, backgrounds="none", **NAMED
    )
    from_list = robustvit.evaluate(
        model=model, images=str(set_of_photos / "list.csv"), masks=masks, swaps=1, backgrounds="none"
    )
    assert from_file.measures == from_list.measures
    assert "mixed-other" in from_file.measures
    with_set = robustvit.evaluate(model=model, images=f"hf:{images}", backgrounds="none")
    assert len(with_set.photos) == 30
    (set_of_photos / "one.txt").write_text(f"{sorted(photos[0].rglob('*.png'))[0]}\n")
    found = robustvit.explain([str(set_of_photos / "one.txt")], model=model, out=str(set_of_photos / "shown"))
    assert [one.photo.suffix for one in found] == [".png"]
    shifted = robustvit.shifts(
        images=str(set_of_photos / "a.parquet"), out=str(set_of_photos / "shifted"), kinds="only-fg", **NAMED
    )
    assert shifted.images == {"only-fg": 6}


def test_masks_are_made_for_a_list_and_found_again(set_of_photos, model_folder):
    from robustvit import make_masks

    source = str(set_of_photos / "list.csv")
    made = make_masks(
        source, out=str(set_of_photos / "made"), method="relevance", model=str(model_folder), device="cpu"
    )
    kept = [record for record in made.records if record.mask]
    assert kept
    assert {record.label for record in made.records} == {"disc", "frame", "stripe"}
    found = find_photos(source, set_of_photos / "made", rules=MaskRules(skip_unmasked=True))
    assert [photo.mask.resolve() for photo in found] == [record.mask.resolve() for record in kept]


def test_mistakes_are_one_line_on_the_command_line(set_of_photos, model_folder, capsys):
    from robustvit.cli.main import main

    for images, words in (
        (f"{set_of_photos / 'a.parquet'}", "could be the image, 'a' and 'b': name the right one with --image-column"),
        (f"{set_of_photos / 'none.parquet'}", "expected a list of photos, found none"),
        (f"hf:{set_of_photos / 'none'}", "expected a folder or file of a data set behind hf:"),
        (f"{set_of_photos / 'list.csv'}#val", "expected a column split"),
    ):
        assert main(["evaluate", "--model", str(model_folder), "--images", images]) == 2
        said = [line for line in capsys.readouterr().err.splitlines() if "written to" not in line and line.strip()]
        assert words in " ".join(said), said
