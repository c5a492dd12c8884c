"""The adaptive MolmoE model: vision tower, decoder, preprocessing, tokenizer, checkpoints."""
