"""Words of the single views."""

VIEW_TEXTS: dict[str, tuple[str, str]] = {
    # Picture
    "back": ("返回列表", "Back"),
    "previous": ("上一张", "Previous"),
    "next": ("下一张", "Next"),
    "mark": ("标记", "Mark"),
    "unmark": ("取消标记", "Unmark"),
    "show_boxes": ("显示方框", "Show boxes"),
    "boxes_alt": ("检测到的区域", "Detected regions"),
    "min_score": ("分数不低于", "Scores from"),
    "only_tags": ("只看这些标签", "Only these tags"),
    "all_tags": ("全部", "All"),
    "boxes_shown": ("显示 {shown} / {total} 个方框", "{shown} of {total} boxes shown"),
    "no_regions": (
        "没有区域文件，无法显示方框。用 --regions 打开一个。",
        "No boxes: no regions file is open. Open one with --regions.",
    ),
    "not_in_regions": ("区域文件中没有这张图片。", "The regions file does not hold this picture."),
    "no_tags": ("没有超过该分数的标签。", "No tag reaches this score."),
    "caption": ("描述", "Caption"),
    "alternatives": ("候选描述", "Alternatives"),
    "alternatives_of": ("{count} 条候选描述", "{count} alternatives"),
    "rank": ("名次", "Rank"),
    "log_prob": ("对数概率", "Log-prob."),
    "score_per_piece": ("每词片", "A piece"),
    "human": ("人工描述", "Human captions"),
    "marks_note": (
        "绿色：描述与人工描述共有的词，颜色越深，连在一起的词越多（最多四个）。",
        "Green: words that captions and human captions share; the darker, the longer the run (up to four).",
    ),
    "scores": ("这张图片的得分", "Scores of this picture"),
    "correct": ("修改描述：{system}", "Correct the caption: {system}"),
    "corrected": ("修改过的描述：{system}", "Corrected caption: {system}"),
    "correct_note": (
        "修改另存一份，原文件不变。",
        "Corrections are kept apart; the file stays as it is.",
    ),
    "correct_by": ("备注", "Note"),
    "correct_by_hint": ("谁、何时、为什么（可不填）", "who, when, why (optional)"),
    "save": ("保存", "Save"),
    "saved": ("已保存", "Saved"),
    # What a word rests on
    "rests_on": ("每个词依据哪些区域", "What each word rests on"),
    "words_of_caption": ("描述中的词", "Words of the caption"),
    "click_a_word": ("点一个词，看它依据的区域。", "Click a word to see the regions that it rests on."),
    "basis": ("依据", "In which sense"),
    "basis_attention": ("注意力", "Attention"),
    "basis_importance": ("逐区遮挡", "Leave one out"),
    "basis_attention_note": (
        "{checkpoint} 写这个词时注意力的去向（各层各头的平均；只显示高于各区域均值的部分）。"
        "注意力说明看了哪里，不说明起了多大作用。",
        "Where the attention of {checkpoint} goes as it writes the word (mean of layers and heads; shown is "
        "what is above the mean of all regions). It shows what was looked at, not whether it mattered.",
    ),
    "basis_importance_note": (
        "去掉一个区域后，{checkpoint} 写出这个词的对数概率下降多少（相对于最大值；标签不变）。",
        "How much log-probability the word loses in {checkpoint} without the region (relative to the "
        "largest; the tags stay).",
    ),
    "no_attention": ("无法计算：", "This cannot be computed:"),
    # Compare
    "systems": ("对比的描述", "Systems"),
    "compare_empty": (
        "需要两个以上的描述文件：--predictions a.json b.json",
        "Two or more caption files are needed: --predictions a.json b.json",
    ),
    "outcome": ("胜负", "Outcome"),
    "overall": ("全部图片的得分", "Scores of all pictures"),
    "n_differing": (
        "{total} 张图片中有 {count} 张描述不同",
        "The captions of {count} of {total} pictures differ",
    ),
    "duel": (
        "{first} 对 {second}（CIDEr）：胜 {wins}，平 {ties}，负 {losses}",
        "{first} against {second} (CIDEr): {wins} wins, {ties} ties, {losses} losses",
    ),
    "no_scores": ("没有可比的得分。", "There are no scores to compare."),
    "votes": ("投票", "Votes"),
    "tie": ("不分上下", "Tie"),
    "vote_for": ("第 {number} 条最好", "{number} is best"),
    "which_is_best": ("哪一条最好？", "Which is best?"),
    "votes_in": ("投票保存在 {path}", "Votes are kept in {path}"),
    # Errors
    "errors_empty": (
        "没有描述文件：--predictions captions.json",
        "There is no caption file: --predictions captions.json",
    ),
    "fault": ("问题", "Fault"),
    "fault_worst": ("得分最低", "Worst"),
    "fault_longest": ("最长", "Longest"),
    "fault_worst_note": ("按 CIDEr 从低到高。", "Lowest CIDEr first."),
    "fault_longest_note": ("按词数从多到少。", "Most words first."),
    "fault_repeated_note": (
        "同样的一到四个词连着出现两次，如“在 在”。",
        "One to four words that follow themselves, such as “on on”.",
    ),
    "fault_unknown_note": (
        "描述中有词表以外的字。",
        "The caption has a character that the vocabulary lacks.",
    ),
    "fault_undetected_note": (
        "描述中提到的物体没有检测到（与 CHAIR 同理；也可能是检测器漏检）。",
        "The caption names an object that was not detected (the idea of CHAIR; or the detector missed it).",
    ),
    "fault_alike_note": (
        "其他图片的描述用词相同（不计次序和重复），或只多、少一个词（至少四个词），或只换一个词（至少九个词）；"
        "最常见的在前。",
        "Other pictures' captions have the same words in any order, or one more or less (of four or more), "
        "or one replaced (of nine or more); the most frequent first.",
    ),
    "not_detected": ("未检测到：{names}", "not detected: {names}"),
    "as_others": ("另有 {count} 张雷同", "{count} others like it"),
    "n_words": ("{count} 个词", "{count} words"),
    # Statistics
    "statistics_empty": ("没有可统计的内容。", "There is nothing to count."),
    "show_in_gallery": ("在图库中查看", "Show in the gallery"),
    "chart_scores": ("得分（拖动选取范围）", "Scores (drag to choose a range)"),
    "chart_lengths": ("长度（拖动选取范围）", "Length (drag to choose a range)"),
    "chart_tags": ("最常见的物体标签", "Most frequent object tags"),
    "chart_words": ("最常用的词", "Most frequent words"),
    "chart_boxes": ("方框数与平均得分", "Boxes and mean score"),
    "n_pictures": ("图片", "Pictures"),
    "n_captions": ("描述", "Captions"),
    "n_boxes": ("方框数", "Boxes"),
    "word": ("词", "Word"),
    # Try it
    "upload": ("上传一张图片", "Upload a picture"),
    "upload_help": (
        "JPEG、PNG、WebP、BMP 或 GIF，不超过 20 MB。图片只在内存中处理，不会保存。",
        "JPEG, PNG, WebP, BMP or GIF, at most 20 MB. It is worked on in memory and never kept.",
    ),
    "camera": ("用摄像头拍一张", "Take one with the camera"),
    "camera_help": ("浏览器会请求使用摄像头。", "The web browser asks for permission."),
    "take": ("拍照", "Take a picture"),
    "try_empty": (
        "选一张图片，看检测到的区域、标签和模型写的描述。图片不会保存。",
        "Choose a picture to see its regions, its tags and what the model says. It is not kept.",
    ),
    "your_picture": ("上传的图片", "Your picture"),
    "refused": ("这张图片不能使用：", "This picture cannot be used:"),
    "took": ("用时 {seconds:.2f} 秒", "Took {seconds:.2f} s"),
    # Runs
    "runs_empty": (
        "没有打开训练记录：--runs build/run（captioning.train 的输出文件夹）",
        "No training runs are open: --runs build/run (a folder that captioning.train wrote)",
    ),
    "run": ("训练", "Run"),
    "step": ("步数", "Step"),
    "training": ("训练", "Training"),
    "validation": ("验证", "Validation"),
    "no_curves": ("这些训练还没有记录。", "These runs have told nothing yet."),
    "differences": ("设置的不同", "Differing settings"),
    "setting": ("设置", "Setting"),
    "no_differences": ("设置全都相同。", "All settings are the same."),
    "card_of": ("模型说明：{checkpoint}", "Model card: {checkpoint}"),
    "no_card": ("这个模型没有说明。", "This checkpoint has no card."),
}
"""Key -> (Chinese, English)."""
