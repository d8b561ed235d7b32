package pkcs11

import (
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// image is what a file of machine code is for.
type image struct {
	format   string
	machines []string
	library  bool
}

// inspect says why the file at path cannot be a library for this program, so
// that nothing of it runs: a loader's own words are of little help.
func inspect(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("no such file")
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return errors.New("not a file")
	}
	lib, err := look(path)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return nil // the loader will tell
	}
	own, err := look(self)
	if err != nil {
		return nil
	}
	if lib.format != own.format {
		return fmt.Errorf("%s library, this program is %s", lib.format, own.format)
	}
	if !slices.ContainsFunc(own.machines, func(m string) bool { return slices.Contains(lib.machines, m) }) {
		return fmt.Errorf("library for %v, this program is for %v", lib.machines, own.machines)
	}
	if !lib.library {
		return errors.New("a program, not a library")
	}
	return nil
}

// look reads what kind of machine code a file holds.
func look(path string) (image, error) {
	f, err := os.Open(path)
	if err != nil {
		return image{}, err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 4)
	if _, err := io.ReadFull(f, head); err != nil {
		return image{}, errors.New("not a library: too short")
	}
	malformed := func(format string, err error) (image, error) {
		return image{}, fmt.Errorf("malformed %s library: %w", format, err)
	}
	switch {
	case string(head) == elf.ELFMAG:
		e, err := elf.NewFile(f)
		if err != nil {
			return malformed("ELF", err)
		}
		return image{"ELF", []string{fmt.Sprintf("%v", e.Machine)}, e.Type == elf.ET_DYN}, nil
	case string(head[:2]) == "MZ":
		e, err := pe.NewFile(f)
		if err != nil {
			return malformed("PE", err)
		}
		return image{"PE", []string{fmt.Sprintf("machine 0x%x", e.Machine)}, e.Characteristics&pe.IMAGE_FILE_DLL != 0}, nil
	}
	if fat, err := macho.NewFatFile(f); err == nil {
		i := image{format: "Mach-O", library: true}
		for _, a := range fat.Arches {
			i.machines = append(i.machines, fmt.Sprintf("%v", a.Cpu))
		}
		return i, nil
	}
	if m, err := macho.NewFile(f); err == nil {
		return image{"Mach-O", []string{fmt.Sprintf("%v", m.Cpu)}, m.Type == macho.TypeDylib || m.Type == macho.TypeBundle}, nil
	}
	return image{}, errors.New("not a library: neither ELF, PE nor Mach-O")
}
