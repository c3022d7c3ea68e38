"""Which objects a Chinese caption names.

The caption comes in words, as the protocol aic-icc cuts it. An object is named

- by words that together are its name, the longest there is: 棒球 手套 is one 棒球手套 and no 手套;
- by a word that ends in a name of two or more characters: 公园长椅, 智能手机, 打网球;
- by a word that ends in a name of one character, where only a number, a measure, an everyday verb or an
  adjective of one character stands before it: 两匹马, 骑着马, 小黑猫, but not 热狗, 斑马线 or 镜头;
- by such a word and a place: 床上, 树下.

Words for one thing are one object (`SAME_OBJECT`), in captions and among detections: as detectors have few
classes and people many words, CHAIR (arXiv:1809.02156) does the same with its lists of synonyms.

Limits: 玩具 狗 and 狗 的 雕像 name a dog, 打网球 a tennis ball, 没有 人 a person; a pronoun or a general word
(动物, 水果) names none of its kinds; a rare word that is not in the table, or that jieba glued to another
(一头 熊在 草丛), is not found.
"""

import re
from collections.abc import Collection, Iterator, Sequence

SAME_OBJECT: dict[str, str] = {
    word: name
    for name, words in {
        "人": "男人 女人 男子 女子 男士 女士 男孩 女孩 小男孩 小女孩 男孩子 女孩子 "
        "男生 女生 姑娘 小姑娘 小伙子 小伙 青年 年轻人 孩子 小孩 小孩子 儿童 "
        "婴儿 宝宝 幼儿 老人 老头 老年人 老太太 妇女 妇人 大人 成年人 人们 "
        "人群 人物 众人 有人 一人 两人 三人 行人 路人 游客 乘客 观众 顾客 "
        "客人 情侣 夫妻 夫妇 父亲 母亲 爸爸 妈妈 新郎 新娘 学生 老师 工人 "
        "员工 司机 医生 厨师 警察 士兵 军人 裁判 教练 球员 运动员 选手 投手 "
        "捕手 击球手 骑手 骑行者 骑师 滑雪者 冲浪者 滑板手 赛车手 摩托车手 "
        "飞行员 摄影师 模特 演员 歌手 农民 渔民 一家人 棒球运动员 网球运动员 "
        "足球运动员 击球员 公交车司机 火车司机 列车员",
        "狗": "小狗 狗狗 犬",
        "猫": "小猫 猫咪",
        "牛": "奶牛 公牛 母牛 水牛 小牛 牛群",
        "羊": "绵羊 山羊 公羊 小羊 羊群",
        "马": "小马 骏马 马匹 马群",
        "鸟": "小鸟 鸟儿 鸟群 海鸟 水鸟 海鸥 鸽子 鹦鹉 老鹰 猫头鹰 麻雀 鸭子 天鹅",
        "大象": "象 小象",
        "熊": "黑熊 棕熊 北极熊 小熊",
        "泰迪熊": "玩具熊",
        "汽车": "轿车 出租车 吉普车 越野车 面包车",
        "公交车": "公共汽车 公车 巴士 大巴 大巴车 客车 校车",
        "卡车": "货车 皮卡车",
        "摩托车": "摩托 机车",
        "自行车": "单车 脚踏车 山地车",
        "飞机": "客机 战斗机",
        "火车": "列车 动车 火车头",
        "船": "船只 小船 帆船 轮船 渔船 游船 游艇 独木舟 皮划艇",
        "红绿灯": "交通灯 信号灯 红灯 绿灯",
        "背包": "书包 双肩包",
        "手提包": "提包",
        "雨伞": "伞 遮阳伞",
        "行李箱": "旅行箱 手提箱",
        "滑雪板": "单板滑雪板",
        "网球拍": "球拍",
        "棒球棒": "球棒 棒球棍",
        "瓶子": "瓶 酒瓶 水瓶",
        "杯子": "杯 水杯 茶杯 咖啡杯 马克杯 玻璃杯",
        "酒杯": "高脚杯 葡萄酒杯",
        "叉子": "叉",
        "刀": "刀子",
        "勺子": "勺 汤勺",
        "橙子": "橘子",
        "西兰花": "花椰菜",
        "披萨": "比萨 披萨饼 比萨饼",
        "椅子": "椅 座椅 扶手椅 办公椅 折叠椅",
        "桌子": "桌 餐桌 饭桌 书桌 办公桌 电脑桌",
        "马桶": "坐便器",
        "电视": "电视机",
        "电脑": "笔记本电脑 平板电脑 计算机",
        "手机": "电话",
        "水槽": "水池 洗手池 洗手台",
        "书": "书本 书籍",
        "时钟": "钟 钟表 闹钟 挂钟",
        "花": "鲜花 花朵",
        "树": "树木",
    }.items()
    for word in words.split()
}
"""Word -> what it is counted as, in captions and among detections alike."""

_LONGEST = 4
"""Words that a name may be cut into."""
_PLAIN_BEFORE = re.compile(
    "(?:[骑牵遛抱喂看读踢玩划]着?)?(?:[一二两三四五六七八九十几半数]?[个只匹头条艘辆架位名群本张杯棵朵件块片座])?"
    "[小大老幼黑白红黄蓝绿灰棕花野]*"
)
"""What may stand before a name of one character within a word."""


_PLACES = "上下里中内外旁边"


def one_name(word: str) -> str:
    """The name under which an object is counted, whatever a lexicon or a caption calls it."""
    return SAME_OBJECT.get(word, word)


class Namer:
    """Finds the objects of a vocabulary in captions.

    Args:
        vocabulary: Chinese names of all that could be detected.
    """

    def __init__(self, vocabulary: Collection[str]) -> None:
        self.vocabulary = frozenset(map(one_name, vocabulary))
        # all words are looked for: a longer one that cannot be detected hides a shorter one that can
        every = {*vocabulary, *SAME_OBJECT, *SAME_OBJECT.values()}
        self._names = {word.lower(): one_name(word) for word in every}

    def objects(self, words: Sequence[str]) -> frozenset[str]:
        """The objects of the vocabulary, by `one_name`, that a caption of these words names."""
        return self.vocabulary.intersection(self._found(words))

    def _found(self, words: Sequence[str]) -> Iterator[str]:
        """From left to right."""
        start = 0
        while start < len(words):
            for end in range(min(len(words), start + _LONGEST), start, -1):
                if name := self._names.get("".join(words[start:end])):
                    yield name
                    break
            else:
                end = start + 1
                word = words[start]
                if name := self._ending(word) or self._ending(word.rstrip(_PLACES)):
                    yield name
            start = end

    def _ending(self, word: str) -> str | None:
        """What the longest name is that the word ends in, if by the rules above it counts."""
        for begin in range(len(word)):
            name = self._names.get(word[begin:])
            if name and (len(word) - begin > 1 or _PLAIN_BEFORE.fullmatch(word[:begin])):
                return name
        return None
