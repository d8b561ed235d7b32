package main

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"tanba/tokens"
)

// A keyURI is what we use of a PKCS#11 URI (RFC 7512).
type keyURI struct {
	token, serial, manufacturer, model, object, modulePath string
}

// parseKeyURI reads "pkcs11:token=…;object=…?module-path=…". An attribute that
// we cannot match by is an error rather than ignored.
func parseKeyURI(s string) (keyURI, error) {
	var k keyURI
	rest, ok := strings.CutPrefix(s, "pkcs11:")
	if !ok {
		return k, errors.New("malformed key: want pkcs11:… or a .p12 file")
	}
	path, query, _ := strings.Cut(rest, "?")
	set := map[string]*string{
		"token": &k.token, "serial": &k.serial, "manufacturer": &k.manufacturer, "model": &k.model, "object": &k.object,
		"module-path": &k.modulePath,
	}
	read := func(part string) error {
		name, value, ok := strings.Cut(part, "=")
		at := set[name]
		if !ok || at == nil {
			return fmt.Errorf("unsupported key attribute %q: token, serial, manufacturer, model, object and module-path can be given", name)
		}
		if *at != "" {
			return fmt.Errorf("malformed key: %s twice", name)
		}
		v, err := url.PathUnescape(value)
		if err != nil || v == "" {
			return fmt.Errorf("malformed key: value of %s", name)
		}
		*at = v
		return nil
	}
	for _, part := range strings.FieldsFunc(path, func(r rune) bool { return r == ';' }) {
		if part == "type=private" || part == "type=cert" {
			continue
		}
		if err := read(part); err != nil {
			return k, err
		}
	}
	for _, part := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' }) {
		if err := read(part); err != nil {
			return k, err
		}
	}
	if k.modulePath != "" && !filepath.IsAbs(k.modulePath) {
		return k, errors.New("module-path must be absolute")
	}
	return k, nil
}

// find returns the one identity that the URI names. None, or several, is an
// error that says what there is.
func (k keyURI) find(list []tokens.Token) (tokens.Identity, error) {
	fits := func(want, have string) bool { return want == "" || want == have }
	var found []tokens.Identity
	var names []string
	for _, t := range list {
		for _, i := range t.Identities {
			names = append(names, fmt.Sprintf("%s on token %q (object %q)", i.Certificate.Profile.Name, t.Label, i.Label))
			if fits(k.token, t.Label) && fits(k.serial, t.Serial) && fits(k.manufacturer, t.Manufacturer) && fits(k.model, t.Model) && fits(k.object, i.Label) {
				found = append(found, i)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return tokens.Identity{}, fmt.Errorf("no certificate fits the key; present: %s", orNone(names))
	}
	return tokens.Identity{}, fmt.Errorf("%d certificates fit the key, name one by token= and object=; present: %s", len(found), strings.Join(names, ", "))
}
