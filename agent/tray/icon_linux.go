package tray

// iconFile returns the icon of a state as a file of the kind the system wants.
func iconFile(s State) []byte { return PNG(s, 64) }
