package main

import (
	"golang.org/x/sys/windows"

	"tanba/agent/text"
)

// systemLanguage is the first of the user's languages that we speak.
func systemLanguage() text.Lang {
	tags, err := windows.GetUserPreferredUILanguages(windows.MUI_LANGUAGE_NAME)
	if err != nil {
		return text.English
	}
	for _, t := range tags {
		if l, ok := text.Parse(t); ok {
			return l
		}
	}
	return text.English
}
