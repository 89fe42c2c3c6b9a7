"""More image networks of timm: one of each family that timm_vision.py lacks."""

from .timm_vision import classifier

classifier("coat", "coat_tiny", batch=2, img_size=64, embed_dims=(32, 48, 48, 48), serial_depths=(1, 1, 1, 1), parallel_depth=1)
classifier("convnext-v2", "convnextv2_atto", batch=2, depths=(1, 1, 1, 1))
classifier("cpubone", "cpubone_nano", batch=2)
classifier("crossvit", "crossvit_tiny_240", size=240, batch=2)
classifier("csatv2", "csatv2", size=128, batch=2)
classifier("cspnext", "cspnext_tiny", batch=2)
classifier("davit", "davit_tiny", batch=2, depths=(1, 1, 1, 1), embed_dims=(16, 32, 32, 64), num_heads=(1, 2, 2, 4))
classifier("dla", "dla46x_c", batch=2)
classifier("dpn", "dpn48b", size=96, batch=2)
classifier("efficientformer-v2", "efficientformerv2_s0", size=224, batch=2)
classifier("efficientvim", "efficientvim_m1", size=224, batch=2)
classifier("efficientvit", "efficientvit_b0", batch=2)
classifier("efficientvit-msra", "efficientvit_m0", size=224, batch=2)
classifier("fasternet", "fasternet_t0", batch=2)
classifier("gcvit", "gcvit_xxtiny", size=224, batch=2)
classifier("ghostnet-v3", "ghostnetv3_050", batch=2)
classifier("hgnet", "hgnetv2_b0", batch=2)
classifier("hiera", "hiera_tiny_224", size=224, batch=2, embed_dim=16, num_heads=1, stages=(1, 1, 1, 1))
classifier("iformer", "iformer_t", batch=2)
classifier("lcnet", "lcnet_035")
classifier("lowformer", "lowformer_b0", batch=2)
classifier("mambaout", "mambaout_femto", batch=2, depths=(1, 1, 1, 1))
classifier("maxvit-rw", "maxvit_pico_rw_256", size=128, batch=2, img_size=128)
classifier("mixnet", "mixnet_s")
classifier("mobileone", "mobileone_s1", size=96, batch=2)
classifier("mobilevit-v2", "mobilevitv2_050", batch=2)
classifier("mvit-v2", "mvitv2_tiny", batch=2, img_size=64)
classifier("nest", "nest_tiny", batch=2, img_size=64)
classifier("pit", "pit_ti_224", size=224, batch=2)
classifier("poolformer-v2", "poolformerv2_s12", batch=2)
classifier("regnetz", "regnetz_005", batch=2)
classifier("repghostnet", "repghostnet_050", batch=2)
classifier("repvit", "repvit_m0_9", batch=2)
classifier("resnet-v2", "resnetv2_18", batch=2)
classifier("shvit", "shvit_s1", size=128, batch=2)
classifier("swiftformer", "swiftformer_xs", size=224, batch=2)
classifier(
    "swin-v2-cr",
    "swinv2_cr_tiny_224",
    batch=2,
    img_size=64,
    window_size=2,
    embed_dim=24,
    depths=(1, 1, 2, 1),
    num_heads=(2, 2, 4, 8),
)
classifier(
    "tiny-vit", "tiny_vit_5m_224", size=224, batch=2, depths=(1, 1, 1, 1), embed_dims=(16, 32, 32, 64), num_heads=(1, 2, 2, 4)
)
classifier("tnt", "tnt_s_patch16_224", batch=2, img_size=64, embed_dim=48, inner_dim=12, depth=2, num_heads_outer=4)
classifier("visformer", "visformer_tiny", size=224, batch=2)
classifier("vovnet", "ese_vovnet19b_slim_dw", batch=2)
classifier("samvit", "samvit_base_patch16", batch=2, img_size=64, embed_dim=48, depth=2, num_heads=4)
classifier("naflexvit", "naflexvit_base_patch16_gap", batch=2, embed_dim=48, depth=2, num_heads=4)
