#include "datasets/story.h"

#include "datasets/stream.h"

#include <math.h>
#include <string.h>

/* A list of words, the frequent ones first. */
typedef struct words {
    const char *const *word;
    uint32_t n;
    bool inflects; /* has a second form, with "s": plural of a noun, singular of a verb */
} words;

#define WORDS(list, inflects)                                                                                \
    { list, sizeof(list) / sizeof(list)[0], inflects }

enum { HE, SHE, IT, THEY };

static const char *const men[] = {"sailor", "farmer",  "king",   "baker",
                                  "hunter", "soldier", "miller", "beggar"};
static const char *const women[] = {"queen",  "widow",     "girl",   "nurse",
                                    "singer", "princess'", "witch'", "weaver"};
static const char *const animals[] = {"dog", "horse", "cat", "crow", "goat", "bear", "mule", "owl"};
static const char *const food[] = {"apple", "cake",   "egg",   "pear",  "plum",
                                   "pie",   "carrot", "onion", "melon", "turnip"};
static const char *const tools[] = {"hammer", "rope",   "lamp", "knife'", "bucket",
                                    "ladder", "needle", "saw",  "wheel",  "shovel"};
static const char *const wares[] = {"coat",   "ring",  "book", "mirror", "carpet",
                                    "violin", "clock", "map",  "crown",  "blanket"};
static const char *const sights[] = {"boat",  "cloud",   "star",  "island", "garden",
                                     "tower", "rainbow", "storm", "lion",   "river"};
static const char *const eat[] = {"eat", "cook", "peel", "taste", "slice", "share"};
static const char *const use[] = {"use", "need", "mend", "borrow", "lift", "sharpen"};
static const char *const trade[] = {"sell", "want", "steal", "hide", "lose", "paint"};
static const char *const watch[] = {"see", "fear", "admire", "draw", "remember", "follow"};
static const char *const act[] = {"laugh", "sleep", "wait", "sing",  "dream",
                                  "work",  "shout", "rest", "dance", "walk"};
static const char *const adjectives[] = {"old",    "small",   "red",   "good",   "poor",  "white",
                                         "broken", "quiet",   "young", "green",  "heavy", "golden",
                                         "cold",   "strange", "round", "bright", "dark",  "sweet",
                                         "wild",   "silver",  "long",  "clever", "lazy",  "rare"};
static const char *const adverbs[] = {"slowly", "again",  "alone",    "often",
                                      "gladly", "loudly", "together", "bravely"};
static const char *const times[] = {"then",      "today",     "later",   "once",
                                    "sometimes", "yesterday", "finally", "soon"};
static const char *const places[] = {"house",  "forest", "village", "market", "mill",     "harbour",
                                     "bridge", "castle", "field",   "cellar", "mountain", "church"};
static const char *const prepositions[] = {"in", "near", "behind", "above", "beside", "under"};
static const char *const small_words[] = {",",   ".",  "the", "a",  "two", "many",
                                          "who", "he", "she", "it", "they"};

static const words subjects[] = {WORDS(men, true), WORDS(women, true), WORDS(animals, true)};
static const words verbs[] = {WORDS(eat, true), WORDS(use, true), WORDS(trade, true), WORDS(watch, true)};
static const words objects[] = {WORDS(food, true), WORDS(tools, true), WORDS(wares, true),
                                WORDS(sights, true)};
static const words acts = WORDS(act, true), adjective_words = WORDS(adjectives, false);
static const words adverb_words = WORDS(adverbs, false), time_words = WORDS(times, false);
static const words place_words = WORDS(places, false), preposition_words = WORDS(prepositions, false);
static const words function_words = WORDS(small_words, false);

/* A word with its ending. Words that end in ' have one form only. */
static dl_status append_form(dl_text *out, const char *word, bool with_s) {
    const size_t n = strcspn(word, "'");
    return dl_text_append(out, "%.*s%s ", (int)n, word, with_s && word[n] == '\0' ? "s" : "");
}

typedef struct story {
    dl_stream random;
    dl_text *out;
    double nats;
    const char *subject;
    int pronoun;
    bool plural;
} story;

/* --- choices --- */

/* Number i of n, earlier ones more often: floor(n u^2), of probability sqrt((i+1)/n) - sqrt(i/n). */
static uint32_t choose(story *s, uint32_t n) {
    const uint64_t u = dl_stream_next(&s->random);
    const uint32_t i = (uint32_t)((u * u >> 32) * n >> 32);
    s->nats -= log(sqrt((i + 1.0) / n) - sqrt((double)i / n));
    return i;
}

/* True in `percent` of 100 cases. */
static bool chance(story *s, uint32_t percent) {
    const bool yes = dl_stream_below(&s->random, 100) < percent;
    s->nats -= log((yes ? percent : 100 - percent) / 100.0);
    return yes;
}

static dl_status say(story *s, const char *word) {
    return append_form(s->out, word, false);
}

static dl_status say_one(story *s, const words *list) {
    return say(s, list->word[choose(s, list->n)]);
}

/* --- the grammar --- */

/* [the|a|an|two|many] [adjective] noun */
static dl_status say_noun(story *s, const char *noun, bool plural) {
    const bool known = chance(s, 60), two = !known && plural && chance(s, 50);
    const char *adjective = chance(s, 40) ? adjective_words.word[choose(s, adjective_words.n)] : NULL;
    const bool vowel = strchr("aeiou", adjective != NULL ? adjective[0] : noun[0]) != NULL;
    DL_RETURN_IF_ERROR(say(s, known ? "the" : plural ? (two ? "two" : "many") : vowel ? "an" : "a"));
    if (adjective != NULL) {
        DL_RETURN_IF_ERROR(say(s, adjective));
    }
    return append_form(s->out, noun, plural);
}

/* A verb in the form of the subject, and what it is done to. */
static dl_status say_deed(story *s) {
    const uint32_t kind = choose(s, sizeof verbs / sizeof verbs[0]);
    DL_RETURN_IF_ERROR(append_form(s->out, verbs[kind].word[choose(s, verbs[kind].n)], !s->plural));
    const char *object = objects[kind].word[choose(s, objects[kind].n)];
    return say_noun(s, object, strchr(object, '\'') == NULL && chance(s, 30));
}

static dl_status say_subject(story *s, bool first) {
    static const char *const pronouns[] = {[HE] = "he", [SHE] = "she", [IT] = "it", [THEY] = "they"};
    if (!first && chance(s, 70)) {
        return say(s, pronouns[s->plural ? THEY : s->pronoun]);
    }
    DL_RETURN_IF_ERROR(say_noun(s, s->subject, s->plural));
    if (!chance(s, 25)) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_text_append(s->out, ", who "));
    DL_RETURN_IF_ERROR(say_deed(s));
    return say(s, ",");
}

static dl_status say_sentence(story *s, bool first) {
    if (chance(s, 30)) {
        DL_RETURN_IF_ERROR(say_one(s, &time_words));
        DL_RETURN_IF_ERROR(say(s, ","));
    }
    DL_RETURN_IF_ERROR(say_subject(s, first));
    if (chance(s, 65)) {
        DL_RETURN_IF_ERROR(say_deed(s));
    } else {
        DL_RETURN_IF_ERROR(append_form(s->out, acts.word[choose(s, acts.n)], !s->plural));
        if (chance(s, 40)) {
            DL_RETURN_IF_ERROR(say_one(s, &adverb_words));
        }
    }
    if (chance(s, 35)) {
        DL_RETURN_IF_ERROR(say_one(s, &preposition_words));
        DL_RETURN_IF_ERROR(say(s, "the"));
        DL_RETURN_IF_ERROR(say_one(s, &place_words));
    }
    return dl_text_append(s->out, ".\n");
}

dl_status dl_story_write(uint64_t seed, uint64_t number, dl_text *out, double *nats) {
    story s = {.random = {.seed = seed, .sample = number}, .out = out};
    s.pronoun = (int)choose(&s, sizeof subjects / sizeof subjects[0]);
    s.subject = subjects[s.pronoun].word[choose(&s, subjects[s.pronoun].n)];
    s.plural = strchr(s.subject, '\'') == NULL && chance(&s, 35);
    bool first = true;
    do {
        DL_RETURN_IF_ERROR(say_sentence(&s, first));
        first = false;
    } while (chance(&s, 75));
    if (nats != NULL) {
        *nats += s.nats;
    }
    return DL_OK;
}

static dl_status append_list(const words *list, dl_text *out) {
    for (uint32_t i = 0; i < list->n; i++) {
        DL_RETURN_IF_ERROR(append_form(out, list->word[i], false));
        if (list->inflects && strchr(list->word[i], '\'') == NULL) {
            DL_RETURN_IF_ERROR(append_form(out, list->word[i], true));
        }
    }
    return DL_OK;
}

dl_status dl_story_words(dl_text *out) {
    const words *const all[] = {
        &function_words, &subjects[0],     &subjects[1],  &subjects[2], &verbs[0],    &verbs[1],
        &verbs[2],       &verbs[3],        &objects[0],   &objects[1],  &objects[2],  &objects[3],
        &acts,           &adjective_words, &adverb_words, &time_words,  &place_words, &preposition_words};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        DL_RETURN_IF_ERROR(append_list(all[i], out));
    }
    return DL_OK;
}
