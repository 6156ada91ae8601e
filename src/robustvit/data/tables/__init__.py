"""Tables of photos: lists of text, parquet files, and sets of the Hugging Face hub and FiftyOne."""
