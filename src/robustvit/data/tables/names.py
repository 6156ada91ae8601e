"""Names of columns that people use; the table of them is in ``docs/howto/photos.md``."""

from __future__ import annotations

IMAGE_COLUMNS = (
    "image", "file_name", "filename", "file", "path", "file_path", "image_path", "img_path", "image_name", "img_name",
    "image_file", "img", "photo", "image_id", "id_code", "img_filename", "id", "name",
)  # fmt: skip
MASK_COLUMNS = ("mask", "mask_path", "mask_file", "mask_name", "mask_file_name")
LABEL_COLUMNS = (
    "label", "labels", "class", "class_name", "label_name", "category", "target", "diagnosis", "species", "breed",
    "class_id", "label_id", "y",
)  # fmt: skip
