"""Vision side of MolmoE: CLIP ViT per crop, 2x2 attention pooling, projector to the decoder's width.

Sources: Molmo (arXiv 2409.17146), CLIP ViT-L/14-336 (arXiv 2103.00020).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamolmo.model.config import MolmoEConfig, VisionConfig
from adamolmo.model.linear import Linear


class MultiHeadAttention(nn.Module):
    """Attention with biases on all projections. Queries [N, Q, in], keys and values [N, S, in] -> [N, Q, width]."""

    def __init__(self, in_dim: int, num_heads: int, head_dim: int):
        super().__init__()
        width = num_heads * head_dim
        self.head_dim = head_dim
        self.wq, self.wk, self.wv = (Linear(in_dim, width) for _ in range(3))
        self.wo = Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        # q [N, heads, Q, head_dim]; k and v [N, heads, S, head_dim]
        q, k, v = (
            layer(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for layer, x in ((self.wq, queries), (self.wk, keys), (self.wv, keys))
        )
        return self.wo(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """CLIP's MLP with QuickGELU."""

    def __init__(self, width: int, hidden_dim: int):
        super().__init__()
        self.w1 = Linear(width, hidden_dim)
        self.w2 = Linear(hidden_dim, width)

    def forward(self, x: Tensor) -> Tensor:
        # x * sigmoid(1.702 * x) is silu(1.702 * x) / 1.702.
        return self.w2.scaled(F.silu(self.w1.scaled(x, after=1.702)), before=1 / 1.702)


class VisionBlock(nn.Module):
    """Pre-norm transformer block: [N, positions, width] -> the same."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attention = MultiHeadAttention(config.width, config.num_heads, config.head_dim)
        self.ffn_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.feed_forward = FeedForward(config.width, config.mlp_dim)

    def forward(self, x: Tensor) -> Tensor:
        h = self.attention_norm(x)
        x = x + self.attention(h, h)
        return x + self.feed_forward(self.ffn_norm(x))


class VisionTransformer(nn.Module):
    """CLIP's ViT without the final norm: flattened patches [N, patches, patch_dim] -> every block's output."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(config.width))
        self.positional_embedding = nn.Parameter(torch.zeros(config.num_positions, config.width))
        self.patch_embedding = Linear(config.patch_size**2 * 3, config.width, bias=False)
        self.pre_ln = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.transformer = nn.ModuleDict(
            {"resblocks": nn.ModuleList(VisionBlock(config) for _ in range(config.num_layers))}
        )

    def forward(self, patches: Tensor, num_blocks: int | None = None) -> list[Tensor]:
        """The output of each block, or of the first `num_blocks`: [N, 1 + patches, width], class token first."""
        x = self.patch_embedding(patches)  # [N, patches, width]
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
        x = self.pre_ln(x)
        outputs = []
        for block in self.transformer["resblocks"][:num_blocks]:
            x = block(x)
            outputs.append(x)
        return outputs


class Projector(nn.Module):
    """SwiGLU projector from the vision width to the decoder's width, no biases."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int):
        super().__init__()
        self.w1 = Linear(in_dim, hidden_dim, bias=False)
        self.w2 = Linear(hidden_dim, out_dim, bias=False)
        self.w3 = Linear(in_dim, hidden_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class VisionBackbone(nn.Module):
    """Image crops -> features that are added to the image tokens' embeddings."""

    def __init__(self, config: MolmoEConfig):
        super().__init__()
        vision = config.vision
        self.grid, self.window = vision.patch_grid, config.pooling
        self.feature_layers = [layer % vision.num_layers for layer in config.vit_layers]
        feature_dim = len(config.vit_layers) * vision.width
        self.pad_embed = nn.Parameter(torch.zeros(2, feature_dim))
        self.image_vit = VisionTransformer(vision)
        self.image_pooling_2d = MultiHeadAttention(feature_dim, vision.num_heads, vision.head_dim)
        self.image_projector = Projector(vision.width, config.projector_dim, config.d_model)

    def forward(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """Crops are independent of each other, so they may be encoded together or apart with the same result.

        Args:
            pixels: normalised flattened patches, [batch, crops, patches, patch_dim].
            masks: share of each patch that is real image, [batch, crops, patches].

        Returns:
            Features, [batch, crops, tokens_per_crop, d_model].
        """
        return self.connect(self.encode(pixels), masks)

    def encode(self, pixels: Tensor) -> Tensor:
        """The tower alone, which reads no mask, so that crops can be encoded before the tiling is known.

        [batch, crops, patches, patch_dim] -> patch features [batch, crops, patches, feature_dim].
        """
        return self._encode(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])

    def connect(self, features: Tensor, masks: Tensor) -> Tensor:
        """From `encode` to the result of `forward`: marks of padding, pooling, projector."""
        batch, crops = features.shape[:2]
        features = self._mark_padding(features.flatten(0, 1), masks.flatten(0, 1))  # [N, patches, feature_dim]
        windows = self._windows(features)  # [N * tokens_per_crop, patches of one window, feature_dim]
        pooled = self.image_pooling_2d(windows.mean(dim=1, keepdim=True), windows)  # [N * tokens_per_crop, 1, width]
        return self.image_projector(pooled).view(batch, crops, -1, self.image_projector.w2.out_features)

    def _encode(self, pixels: Tensor) -> Tensor:
        """[N, patches, patch_dim] -> the chosen blocks' outputs side by side, [N, patches, feature_dim]."""
        outputs = self.image_vit(pixels, num_blocks=max(self.feature_layers) + 1)
        features = torch.cat([outputs[layer] for layer in self.feature_layers], dim=-1)[:, 1:]
        # A padding crop is -1 in ALL its values; single pixels of -1 occur in real photographs.
        is_padding = (pixels.amin(dim=(1, 2)) == -1) & (pixels.amax(dim=(1, 2)) == -1)  # [N]
        return features.masked_fill(is_padding[:, None, None], 0)

    def _mark_padding(self, features: Tensor, masks: Tensor) -> Tensor:
        """[N, patches, feature_dim] with masks [N, patches] -> the same."""
        masks = masks[..., None]
        pad, partial = self.pad_embed.to(features.dtype)  # each [feature_dim]
        return features + pad * (masks == 0) + partial * ((masks < 1) & (masks != 0))

    def _windows(self, features: Tensor) -> Tensor:
        """[N, patches, dim] -> [N * windows, patches of one window, dim], windows in row-major order."""
        (rows, columns), (height, width) = self.grid, self.window
        # [N, window rows, height, window columns, width, dim]
        grid = features.view(len(features), rows // height, height, columns // width, width, -1)
        return grid.transpose(2, 3).reshape(-1, height * width, features.shape[-1])
