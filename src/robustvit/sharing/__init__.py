"""What others get to see: reports, exported models, model cards, uploads."""
