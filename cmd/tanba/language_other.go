//go:build !windows

package main

import "tanba/agent/text"

// systemLanguage is for a system that tells it by LANG, which is not set.
func systemLanguage() text.Lang { return text.English }
