package control

import "golang.org/x/sys/windows"

// DefaultPath returns the name of this user's pipe, empty when the system does
// not tell who the user is.
func DefaultPath() string {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return ""
	}
	return `\\.\pipe\tanba-` + user.User.Sid.String()
}
