// Package text holds everything a person reads, in Kazakh, Russian and
// English. Each file holds the words of one place: prompt.go the prompt,
// tray.go the tray, trouble.go what can go wrong.
//
// The words are short, calm and say what to do. No exclamation marks, no
// codes, no blame. A sentence names its subject ("The token was pulled").
// Values stand in braces, {name}; a value is inserted as it is, so the page
// that shows it must escape it.
package text

import (
	"strconv"
	"strings"
)

// A Lang is a language of the agent.
type Lang string

// The languages.
const (
	Kazakh  Lang = "kk"
	Russian Lang = "ru"
	English Lang = "en"
)

// Langs lists the languages in the order in which they are offered.
var Langs = []Lang{Kazakh, Russian, English}

// A Key names one text.
type Key string

// words holds one text in each language. A text with plural forms separates
// them by "|": English one|many, Russian one|few|many, Kazakh a single form.
type words struct{ kk, ru, en string }

// all is every text by key.
var all = merge(common, tray, desk, pageWords, promptWords, accessWords, troubleWords)

func merge(tables ...map[Key]words) map[Key]words {
	m := map[Key]words{}
	for _, t := range tables {
		for k, w := range t {
			if _, dup := m[k]; dup {
				panic("text: key twice: " + string(k))
			}
			m[k] = w
		}
	}
	return m
}

// Parse returns the language of a tag such as "ru-RU", "kk_KZ.UTF-8"; ok is
// false for a language that we do not speak, and English is returned.
func Parse(tag string) (l Lang, ok bool) {
	tag = strings.ToLower(tag)
	for _, l := range Langs {
		if tag == string(l) || strings.HasPrefix(tag, string(l)+"-") || strings.HasPrefix(tag, string(l)+"_") {
			return l, true
		}
	}
	return English, false
}

// Get returns the text of key in l with values put in, given as name, value,
// name, value. An unknown key returns the key itself in angle brackets: a test
// looks for those.
func Get(l Lang, key Key, values ...string) string {
	w, ok := all[key]
	if !ok {
		return "<" + string(key) + ">"
	}
	return fill(pick(w, l), values)
}

// Count returns the text of key in the plural form for n, with {n} put in.
func Count(l Lang, key Key, n int, values ...string) string {
	w, ok := all[key]
	if !ok {
		return "<" + string(key) + ">"
	}
	forms := strings.Split(pick(w, l), "|")
	return fill(forms[min(plural(l, n), len(forms)-1)], append([]string{"n", strconv.Itoa(n)}, values...))
}

// Table returns every text whose key starts with prefix, for a page that
// needs them at once.
func Table(l Lang, prefix string) map[Key]string {
	m := map[Key]string{}
	for k, w := range all {
		if strings.HasPrefix(string(k), prefix) {
			m[k] = pick(w, l)
		}
	}
	return m
}

func pick(w words, l Lang) string {
	switch l {
	case Kazakh:
		return w.kk
	case Russian:
		return w.ru
	}
	return w.en
}

func fill(s string, values []string) string {
	if len(values) == 0 {
		return s
	}
	pairs := make([]string, 0, len(values))
	for i := 0; i+1 < len(values); i += 2 {
		pairs = append(pairs, "{"+values[i]+"}", values[i+1])
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

// plural returns the index of the plural form for n.
func plural(l Lang, n int) int {
	switch l {
	case Kazakh:
		return 0
	case Russian:
		switch {
		case n%10 == 1 && n%100 != 11:
			return 0
		case n%10 >= 2 && n%10 <= 4 && (n%100 < 12 || n%100 > 14):
			return 1
		}
		return 2
	}
	if n == 1 {
		return 0
	}
	return 1
}

// common holds words used in several places.
var common = map[Key]words{
	"common.tanba": {"Tanba", "Tanba", "Tanba"},
}
