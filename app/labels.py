"""Every word the page itself says, in Chinese and in English.

Captions, tags and file names are data and come as they are; see `app.text`.
"""

from typing import Literal

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

LABELS: dict[str, tuple[str, str]] = {
    "title": ("图说", "tushuo"),
    "subtitle": ("看图，看区域，看模型怎么说", "Pictures, regions, and what the model says"),
    "gallery": ("图库", "Gallery"),
    "try": ("试一试", "Try it"),
    "language": ("语言", "Language"),
    "zh": ("中文", "中文"),
    "en": ("English", "English"),
    "system": ("描述来源", "Captions from"),
    "sources": ("打开的文件", "Open files"),
    "pictures": ("{count} 张图片：{path}", "{count} pictures: {path}"),
    "regions": ("{count} 张图片的区域：{path}", "Regions of {count} pictures: {path}"),
    "references": ("{count} 张图片的人工描述：{path}", "Human captions of {count} pictures: {path}"),
    "predictions": ("{count} 条描述：{path}", "{count} captions: {path}"),
    "unknown": ("其中 {count} 条的图片不在文件夹里", "and {count} of pictures that are not in the folder"),
    "checkpoint": ("模型：{path}", "Checkpoint: {path}"),
    "words": ("按词", "words"),
    "characters": ("按字", "characters"),
    "search": ("搜索", "Search"),
    "search_hint": ("描述、人工描述或文件名", "captions, human captions or file names"),
    "found": ("{found} / {total} 张图片", "{found} of {total} pictures"),
    "nothing_found": ("没有匹配的图片。换个词试试。", "No picture matches. Try another word."),
    "view": ("查看", "View"),
    "page": ("第 {page} / {pages} 页", "Page {page} of {pages}"),
    "previous_page": ("上一页", "Previous"),
    "next_page": ("下一页", "Next"),
    "no_caption": ("（没有描述）", "(no caption)"),
    "captioning": ("正在生成描述……", "Writing captions…"),
    "corpus_score": (
        "{metric} {value:.3f}（{images} 张有人工描述的图片，{unit}，{version}）",
        "{metric} {value:.3f} ({images} pictures with human captions, {unit}, {version})",
    ),
    "back": ("返回图库", "Back to the gallery"),
    "previous": ("上一张", "Previous"),
    "next": ("下一张", "Next"),
    "no_such_picture": ("没有这张图片。", "There is no such picture."),
    "unreadable": ("这张图片无法读取。", "This picture cannot be read."),
    "show_boxes": ("显示方框", "Show boxes"),
    "min_score": ("分数不低于", "Scores from"),
    "only_tags": ("只看这些标签", "Only these tags"),
    "all_tags": ("全部", "All"),
    "boxes_shown": ("显示 {shown} / {total} 个方框", "{shown} of {total} boxes shown"),
    "no_regions": (
        "没有区域文件，无法显示方框。用 --regions 打开一个。",
        "No boxes: no regions file is open. Open one with --regions.",
    ),
    "not_in_regions": ("区域文件中没有这张图片。", "The regions file does not hold this picture."),
    "tags": ("物体标签", "Object tags"),
    "no_tags": ("没有超过该分数的标签。", "No tag reaches this score."),
    "caption": ("描述", "Caption"),
    "alternatives": ("候选描述", "Alternatives"),
    "rank": ("名次", "Rank"),
    "log_prob": ("对数概率", "Log-probability"),
    "score_per_piece": ("每词片平均", "Mean a piece"),
    "human": ("人工描述", "Human captions"),
    "scores": ("这张图片的得分", "Scores of this picture"),
    "metric": ("指标", "Metric"),
    "upload": ("上传一张图片", "Upload a picture"),
    "upload_help": (
        "JPEG、PNG、WebP、BMP 或 GIF，不超过 20 MB。图片只在内存中处理，不会保存。",
        "JPEG, PNG, WebP, BMP or GIF, at most 20 MB. It is worked on in memory and never kept.",
    ),
    "refused": ("这张图片不能使用：", "This picture cannot be used:"),
    "working": ("正在找物体、写描述……", "Finding objects, writing a caption…"),
    "took": ("用时 {seconds:.2f} 秒", "Took {seconds:.2f} s"),
    "no_captioner": ("模型无法载入：", "The checkpoint cannot be loaded:"),
}
"""Key -> (Chinese, English)."""


def choose_language(wanted: str, browser_locale: str | None) -> Language:
    """``zh`` or ``en`` as given; ``auto`` follows the web browser and is Chinese where it says nothing."""
    if wanted in ("zh", "en"):
        return "zh" if wanted == "zh" else "en"
    return "zh" if browser_locale is None or browser_locale.lower().startswith("zh") else "en"


def label(key: str, language: Language, **values: object) -> str:
    """The words for ``key``, with ``values`` filled in."""
    return LABELS[key][LANGUAGES.index(language)].format(**values)
