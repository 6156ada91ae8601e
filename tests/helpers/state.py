"""What a relevance map must leave a network as it was."""

from __future__ import annotations


def state_of(network):
    return (
        network.training,
        network.grad_checkpointing,
        [(block.training, block.attn.fused_attn, block.attn.attn_drop.training) for block in network.blocks],
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        network.patch_drop.training,
    )
