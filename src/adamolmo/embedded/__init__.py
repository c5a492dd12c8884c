"""How the embedded model is made: vocabulary, sizes, training. The study itself never imports this package."""
