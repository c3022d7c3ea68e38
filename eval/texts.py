"""The words of reports in Chinese and English: a page holds both, tables and the terminal take English."""

from typing import Any

from markupsafe import Markup

from eval.metrics import METRIC_NOTES

LANGUAGES = ("zh", "en")

TEXTS = {
    "language": ("语言", "Language"),
    "title": ("图片描述评测", "Caption scores"),
    "counts": (
        "{images} 张图片，{references} 条人工描述",
        "{images} pictures, {references} human captions",
    ),
    "partial": (
        "不完整：{name} 没有描述参考文件 {total} 张图片中的 {missing} 张。它们未计入，也没有按 0 分计算。",
        "Partial: {name} has no caption for {missing} of {total} reference pictures. They were left out, not "
        "counted as 0.",
    ),
    "extra": (
        "{name} 中有 {extra} 条描述的图片没有人工描述，已略过。",
        "{name}: {extra} captions belong to pictures without references and were passed over.",
    ),
    "unsegmented": (
        "疑似未分词：在 {protocol} 下，{path} 平均每句只有 {tokens} 个词，却有 {characters} 个汉字。"
        "请改用 aic-icc 或 chars 协议。",
        "LOOKS UNSEGMENTED: under {protocol}, sentences of {path} have {tokens} tokens on average, but "
        "{characters} Chinese characters. Score them under aic-icc or chars.",
    ),
    "few_pictures": (
        "图片太少：{total} 张图片中只评了 {scored} 张；少于 {wanted} 张时，"
        "CIDEr（文档频率）和置信区间都不可靠。",
        "TOO FEW PICTURES: {scored} of {total} were scored; with fewer than {wanted}, neither CIDEr (its "
        "document frequencies) nor intervals can be relied on.",
    ),
    "scores": ("得分", "Scores"),
    "ranges": (
        "CIDEr 在 0–10 之间，其他在 0–1 之间。不同协议的分数不能互相比较。",
        "CIDEr lies in 0–10, the others in 0–1. Scores of different protocols cannot be compared.",
    ),
    "interval_note": (
        "小字：对图片做自助法得到的 {confidence} 置信区间。",
        "Small print: {confidence} bootstrap intervals over pictures.",
    ),
    "test_note": (
        "* 与 {first} 差异显著；粗体：显著好于其他所有系统（成对检验，p ≤ {p}，按系统对数做 Holm 校正）。",
        "* differs significantly from {first}; bold: significantly better than each other system (paired "
        "test, p ≤ {p}, Holm-corrected for the number of pairs).",
    ),
    "meteor_note": (
        "METEOR 把中文拆成单字，且没有中文资源，仅供对照。",
        f"{METRIC_NOTES['meteor']}.",
    ),
    "words": ("词", "words"),
    "characters": ("字", "characters"),
    "given words": ("给定的词", "given words"),
    "English words": ("英文词", "English words"),
    "system": ("系统", "System"),
    "distribution_of": ("各图片 {metric} 的分布，{name}", "{metric} of each picture, {name}"),
    "median_zero": ("中位数 {median}；{zero} 的图片得 0 分", "median {median}; {zero} of pictures score 0"),
    "protocol": ("评测方法", "Protocol"),
    "method": ("计算方法", "How it was computed"),
    "method_program": ("程序：{program}", "Program: {program}"),
    "method_bleu-4": (
        "BLEU：整个语料累计；长度惩罚取每张图片最接近的人工描述长度",
        "BLEU: of the whole corpus; brevity penalty by each picture's closest reference length",
    ),
    "method_rouge-l": (
        "ROUGE-L：β = 1.2，取人工描述中最高的准确率和召回率",
        "ROUGE-L: beta 1.2, the best precision and the best recall among the references",
    ),
    "method_cider": (
        "CIDEr：即 COCO 服务器所用的 CIDEr-D；文档频率取自参评的 {n} 张图片的人工描述",
        "CIDEr: CIDEr-D as the COCO server computes it; document frequencies from the references of the {n} "
        "scored pictures",
    ),
    "method_cider-unclipped": (
        "CIDEr（unclipped）：无截断、无长度惩罚（arXiv:1411.5726 式 1–3）；"
        "文档频率取自参评的 {n} 张图片的人工描述",
        "CIDEr (unclipped): without clipping and length penalty (arXiv:1411.5726, equations 1 to 3); "
        "document frequencies from the references of the {n} scored pictures",
    ),
    "method_intervals": (
        "区间：对图片做自助法的 {confidence} 百分位区间，抽取 {resamples} 次，随机种子 {seed}",
        "Intervals: {confidence}, percentile bootstrap over pictures, {resamples} draws, seed {seed}",
    ),
    "method_tests": (
        "检验：成对近似随机化，双侧，{resamples} 次，随机种子 {seed}；p 值按 {pairs} 对系统做 Holm 校正；"
        "差值的区间用成对自助法",
        "Tests: paired approximate randomisation, two-sided, {resamples} draws, seed {seed}; p corrected by "
        "Holm's method, pairs of systems: {pairs}; intervals of differences: paired bootstrap",
    ),
    "predictions_of": ("{name} 的描述", "captions of {name}"),
    "references_file": ("人工描述", "human captions"),
    "file_counts": ("{captions} 条描述，{images} 张图片", "{captions} captions of {images} pictures"),
    "command": ("命令", "command"),
    "comparison": ("系统比较", "Comparison of systems"),
    "pair": ("{first} 对 {second}", "{first} against {second}"),
    "metric": ("指标", "Metric"),
    "difference": ("差值", "Difference"),
    "p_value": ("p（校正后）", "p (corrected)"),
    "won": ("胜出的图片", "pictures won by"),
    "tied": ("持平", "tied"),
    "most_changed": ("差别最大的图片", "Pictures the systems differ on most"),
    "most_changed_note": (
        "按各系统 {metric} 的最高与最低之差排列。",
        "By the distance between the systems' highest and lowest {metric}.",
    ),
    "captions": ("描述的用语", "How the captions are written"),
    "measure": ("量度", "Measure"),
    "lengths": ("长度（{unit}）", "Length in {unit}"),
    "lengths_of": ("描述长度的分布，{name}", "Lengths of captions, {name}"),
    "people": ("人工描述", "people"),
    "mean": ("平均 {mean}", "mean {mean}"),
    "sampled": (
        "由均匀抽取的 {n} 张图片统计（共 {total} 张）。",
        "Counted on {n} of {total} pictures, evenly spaced.",
    ),
    "variety": ("丰富程度", "Variety"),
    "mean_length": ("平均长度", "mean length"),
    "vocabulary": ("不同的词（字）数", "different words (characters)"),
    "distinct_1": ("distinct-1：不同词占全部词", "distinct-1: different tokens of all"),
    "distinct_2": ("distinct-2：不同词对占全部词对", "distinct-2: different pairs of all"),
    "self_bleu_4": ("self-BLEU-4：越高，描述之间越雷同", "self-BLEU-4: the higher, the more alike"),
    "distinct_captions": ("互不相同的描述", "captions different from each other"),
    "repetition": ("重复自己的描述", "captions that repeat themselves"),
    "unknown": ("含 [UNK] 的描述", "captions with [UNK]"),
    "said_more": ("比人说得多的词", "Said more often than people say it"),
    "said_less": ("比人说得少的词", "Said less often than people say it"),
    "word": ("词", "Word"),
    "share_note": ("含该词的描述所占比例。", "Share of the captions that hold the word."),
    "objects": ("检测到的物体与说出的物体", "Objects detected and objects named"),
    "objects_note": (
        "对照：{source}；{vocabulary} 种物体，{n} 张图片。未检测到也可能是检测器漏检。",
        "Held against: {source}; {vocabulary} kinds of objects, {n} pictures. What was not detected may be "
        "the detector's miss.",
    ),
    "tags in the predictions": ("预测文件中的标签", "tags in the predictions"),
    "recall": ("检测到的物体中被说出的", "detected objects that are named"),
    "not_detected_share": ("说出的物体中未检测到的", "named objects that were not detected"),
    "images_not_detected": (
        "说出未检测到的物体的图片",
        "pictures whose caption names one that was not detected",
    ),
    "object": ("物体", "Object"),
    "named": ("已说出", "named"),
    "not_named": ("检测到但未说出", "detected, not named"),
    "not_detected": ("说出但未检测到", "named, not detected"),
    "pictures": ("图片，按 {metric} 从高到低", "Pictures by {metric}, best first"),
    "pictures_note": (
        "按 {protocol}（{unit}）下 {name} 的 {metric} 排列；显示 {total} 张中的 {shown} 张。",
        "Ranked by the {metric} of {name} under {protocol} ({unit}); {shown} of {total} pictures.",
    ),
    "legend": (
        "标出的是与人工描述（或系统描述）相同的最长片段，颜色越深片段越长：",
        "Marked: the longest stretches in common with a human caption (or, in those, with a system's), "
        "darker the longer:",
    ),
    "best": ("最好的", "Best"),
    "above": ("最好与中间之间，等距抽取", "Between best and middle, evenly spaced"),
    "middle": ("中间的", "Middle"),
    "below": ("中间与最差之间，等距抽取", "Between middle and worst, evenly spaced"),
    "worst": ("最差的", "Worst"),
    "n_pictures": ("{n} 张", "{n} pictures"),
    "human": ("人工描述", "Human captions"),
    "card_objects": ("物体：✓ 已说出，? 说出但未检测到", "Objects: ✓ named, ? named but not detected"),
    "hypotheses": ("{n} 个候选", "{n} hypotheses"),
    "all_scores": ("全部得分", "All scores"),
    "best_hint": ("本图最高", "highest here"),
    "footer": ("由图说（tushuo）的 {command} 生成。", "Made by {command} of tushuo (图说)."),
}
"""Key -> Chinese, English; braces stand for values."""


def bilingual(key: str, **values: Any) -> Markup:
    """Both languages of a text; the style sheet hides the one that was not chosen. Values are escaped."""
    zh, en = (Markup(text).format(**values) for text in TEXTS[key])
    return Markup('<span class="zh" lang="zh">{}</span><span class="en" lang="en">{}</span>').format(zh, en)
