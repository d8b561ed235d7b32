// Package js holds the client for CRM pages: an ES module without
// dependencies, and its TypeScript types.
package js

import _ "embed"

// Module is tanba.js, to be served as text/javascript.
//
//go:embed tanba.js
var Module []byte

// Types is tanba.d.ts.
//
//go:embed tanba.d.ts
var Types []byte
