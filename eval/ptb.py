"""English sentences to the tokens of the Penn Treebank, as the Stanford tokenizer cuts them; no Java.

COCO captions are scored on the tokens of Stanford's PTBTokenizer (CoreNLP 3.4.1), in lower case and without
punctuation (see `eval.protocols`). The rules of the Treebank (punctuation and clitics stand alone: ``do
n't``, ``dog 's``; brackets have names: ``-LRB-``; abbreviations keep their period) are written here as
regular expressions of our own. What the program does beyond them was found by giving it sentences, with
every word of up to four letters before a period among them; tests compare with the program itself.

At every place the longest match wins, of equally long ones the first. Not followed are: the second period
that Stanford writes where an abbreviation ends a sentence, and which double quotes open and which close,
for both are dropped with the other punctuation; vowel marks of scripts other than Latin; a few sequences
without a space that no caption holds ("etc.-B", "#1.www.a.com").
"""

import re

# Not the superscripts, fractions and circled numbers among Python's word characters.
LETTER = r"(?:[^\W\d_²³¹¼-¾⁰-₉⅐-⅞①-⒛⓪-⓿❶-➓]|[\u0300-\u036f])"
ALNUM = rf"(?:{LETTER}|\d)"
HYPHEN = r"[-_\u2010\u2011]"
QUOTE = r"['’`‘]"
ARTICLE = rf"(?:[dDoOlL]{QUOTE}{ALNUM})?"
THING = rf"{ARTICLE}{ALNUM}+(?:{HYPHEN}{ARTICLE}{ALNUM}+)*"
# Bounds like 60 keep a caption of 10,000 characters from taking seconds.
COMPOUND = r"[A-Za-z0-9][A-Za-z0-9.,]{0,60}(?:-(?:(?:[A-Za-z]\.){2,}|[A-Za-z0-9]+))+"
SIDE = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
NUMBER = r"(?:\d+(?:[.:,]\d+)*|(?:[.:,]\d+)+)"
BEYOND = r"[^\s\"<>|(){}]"  # what an address may go on with

ABBREVIATIONS = """
    adj adm adv al ala alex apr ariz assn assoc asst atty attys aug ave bancorp bhd bldg blvd brig bros
    calif capt cf cie cmdr co col colo conn corp cos cpl ct dak dec dept det dr drs elec ens esq est etc
    ext feb fla fri ft ga gen gov govs hon inc ind insp intl invt jan jos jr jul jun kan kans ky lieut lt
    ltd maj mar md messrs mfg mich minn mlle mme mo mon mont mr mrs ms msgr mt mtg natl neb nev nov oct
    okla penn pfc ph plc ppte ppty pres prof profs pte ptes pty ptys pvt rd rep reps rev rt sen sens sep
    sept seq sfc sgt spc sq sr st ste supt sys tel tenn thu thurs treas tue tues univ va vs vt wed wis
    wisc wm wyo
"""
CAPITAL_ABBREVIATIONS = "Ark Az Del Ill La Mass Miss Ore Pa Tex Wash"  # words in lower case
BEFORE_NUMBERS = "art ca fig figs no nos op pp prop"

TWO_WORDS = (("can", "not"), ("gon", "na"), ("got", "ta"), ("wan", "na"), ("gim", "me"), ("lem", "me"))
SENTENCE_STARTS = """
    A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More
    Mr. Ms. Now Once One Other Our She Since So Some Such That The Their Then There These They This We
    What When While Yet You
"""
"""A single letter is no initial before them: "plan A. The next"."""

RULES = tuple(
    re.compile(pattern)
    for pattern in (
        # <b>, <a href="x">, <!-- -->
        r"(</?[A-Za-z][\w:.-]*(?: +[A-Za-z][\w:.-]*(?:=[\"'][^\"'<>]*[\"'])?)* */? *>|<[!?][A-Za-z-][^>]*>)",
        # web and mail addresses, @somebody, #something
        rf"(https?://{BEYOND}+[^\s\"<>|.!?(){{}},-])",
        r"((?:www\.)?(?:[^\s\"`'<>|.!?(){},_/$-]{1,60}\.)+(?:com|net|org|edu)(?:/[^\s\"<>|()]+[^\s\"<>|.!?(){},-])?)",
        rf"([A-Za-z0-9]{BEYOND}{{0,60}}@(?:[^\s\"<>|(){{}}.]+\.)*[^\s\"<>|(){{}}.]+)",
        r"(@[A-Za-z_]\w*|#[A-Za-z]+)",
        # one word in writing, two in the Treebank
        *(rf"((?i:{first}))(?i:{second})" for first, second in TWO_WORDS),
        r"('[tT])(?i:is|was)",
        rf"({LETTER}+?)[nN]{QUOTE}[tT]",
        rf"([nN]{QUOTE}[tT])",
        # clitics and clipped words
        rf"({LETTER}+)['’](?i:[smd]|ll|re|ve)(?!{LETTER})",
        rf"('(?i:[smd]|ll|re|ve))(?!{LETTER})",
        r"(’(?i:[smd]|ll|re|ve))",
        rf"(['’](?:em|till|til|cause|n['’]|n(?!{LETTER})|[2-9]0s|\d\d(?= |$)))",
        r"([nN]['’]|[lLdDjJyY]['’]|(?i:ol|dunkin|somethin)['’])",
        # O'Brien, ma'am, c'mon
        rf"([A-HJ-XZn]{QUOTE}{LETTER}{{2,}}|{LETTER}+[aeiouyAEIOUY]{QUOTE}[aeiouA-Z]{LETTER}*)",
        r"((?i:c'mon|e'er|ev'ry|li'l|nat'l|nor'easter|o'o|s'mores))",
        # numbers: dates and fractions, 3,000, 10:30, .5, -2, (555) 123-4567
        r"(\d{1,2}[-/]\d{1,2}[-/]\d{2,4}|(?:\d{1,4}[- ])?\d{1,4}[/⁄]\d{1,4}|[¼½¾⅓⅔])",
        rf"([-+]?{NUMBER})",
        r"(\(\d{2,3}\) ?\d{3,4}[-. ]\d{3,5})",
        # words, joined by hyphens (t-shirt), slashes (and/or), a missing space (grass.The), & (AT&T)
        rf"({THING})",
        rf"({COMPOUND})",
        rf"({SIDE}(?:/{SIDE}){{1,2}})",
        rf"({LETTER}{ALNUM}*(?:[.!?]{LETTER}{ALNUM}*)*)",
        r"([A-Z]+(?:[+&][A-Z]+)+|[cC]\+\+|[cCfF]#)",
        # abbreviations; any word before a period and a comma passes for one
        rf"((?i:{'|'.join(ABBREVIATIONS.split())})\.)",
        rf"((?:{'|'.join(CAPITAL_ABBREVIATIONS.split())})\.)",
        rf"((?i:{'|'.join(BEFORE_NUMBERS.split())})\.)\s*\d",
        rf"([A-Za-z]\.)(?! (?:{'|'.join(SENTENCE_STARTS.split())})(?: |$))",
        r"([A-Za-z](?:\.[A-Za-z])+\.)",
        r"((?i:ph|ed)\.[dD]\.)",
        rf"((?:{THING}|{COMPOUND})\.)[,;:、]",
        # :-) and -_-
        r"([<>]?[:;=][-o*']?[()DdPpO\\|\[\]{@])(?![A-Za-z0-9])",
        r"(\(?[-^x=~<>']_[-^x=~<>']\)?)",
        # punctuation and symbols; ideographic brackets and emoji are in no rule and are dropped
        r"(\.{3,5}|(?:\. ){2,3}\.)",
        r"(-{5,}|-{2,4}|\*+|_+|@+|#+|<<|>>|''|``)",
        r"([!?]+)",
        r"([A-Z]*\$)",
        r"([!-/:-@\[-`{-~¡-©¬-±´¶-¸¿×÷²³¹\u2016-\u2018\u201a\u201e\u2020-\u2023\u2030-\u2038\u203b\u203e-\u2044])",
        r"([⁰-₎\u20a4\u20a0€\u2100-\u214f\u2150-\u215f\u2190-\u2bff、。〒・！-･￠￡￥￦])",
    )
)
PLAIN = re.compile(rf"(?!(?i:{'|'.join(map(''.join, TWO_WORDS))})(?: |$))[A-Za-z一-鿋]+(?= |$)")
"""Most words of a caption, found without trying the rules: none can match more."""

CLITIC = re.compile(r"(n?)['’]([smdt]|ll|re|ve)", re.IGNORECASE)
CHARACTERS = str.maketrans(
    {"“": '"', "”": '"', "«": '"', "»": '"', "‛": "‘", "‹": "‘", "›": "'", "…": " ... ", "\u00ad": None}
    | dict.fromkeys("–—―", " -- ")
)
ENTITIES = {"&amp;": "&", "&lt;": " < ", "&gt;": " > ", "&quot;": '"', "&apos;": "'", "&nbsp;": " "}
WRITTEN = {
    '"': "''",
    "‘": "`",
    "[": "-LSB-",
    "]": "-RSB-",
    "{": "-LCB-",
    "}": "-RCB-",
    "¢": "cents",
    "£": "#",
    "¤": "$",
    "€": "$",
    "₠": "$",
    "¼": "1/4",
    "½": "1/2",
    "¾": "3/4",
    "⅓": "1/3",
    "⅔": "2/3",
    "....": "...",
    ".....": "...",
    "---": "--",
    "----": "--",
}
"""Tokens that the Treebank writes in another way."""


def cut_ptb(text: str) -> list[str]:
    """Treebank tokens of an English sentence, in its own case and with its punctuation."""
    for entity, character in ENTITIES.items():
        text = text.replace(entity, character)
    text = " ".join(text.translate(CHARACTERS).split())
    tokens: list[str] = []
    place = 0
    while place < len(text):
        if plain := PLAIN.match(text, place):
            tokens.append(plain[0])
            place = plain.end() + 1
            continue
        matches = [match for rule in RULES if (match := rule.match(text, place))]
        if not matches:
            place += 1  # white space, or a character that Stanford drops
            continue
        longest = max(matches, key=re.Match.end)
        tokens += _as_written(longest[1]).split()  # a telephone number may hold a space
        place = longest.end(1)
    return tokens


def _as_written(token: str) -> str:
    """A token as the Treebank writes it."""
    if clitic := CLITIC.fullmatch(token):
        return f"{clitic[1]}'{clitic[2]}"
    return WRITTEN.get(token, token).replace("(", "-LRB-").replace(")", "-RRB-")
