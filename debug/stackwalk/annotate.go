package stackwalk

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// annotations are what Mozilla's crash reporter knows besides the dump.
type annotations struct {
	certificates map[string]string // subject by the name of the module that it signed
	microcode    uint64
	hasMicrocode bool
}

// Annotate adds to the report what Mozilla's annotations of the crash, a JSON object, say of it:
// ModuleSignatureInfo, an object or the text of one, which lists the modules that each certificate signed, and
// CPUMicrocodeVersion, which counts if the dump does not tell. Others are passed over; an error says what could
// not be used.
func (r *Report) Annotate(data []byte) error {
	var from struct {
		ModuleSignatureInfo json.RawMessage
		CPUMicrocodeVersion string
	}
	if err := json.Unmarshal(data, &from); err != nil {
		return err
	}
	if text := from.CPUMicrocodeVersion; text != "" {
		v, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
		if err != nil {
			return fmt.Errorf("CPUMicrocodeVersion: %w", err)
		}
		r.notes.microcode, r.notes.hasMicrocode = v, true
	}
	signed := from.ModuleSignatureInfo
	if len(signed) == 0 {
		return nil
	}
	var text string
	if json.Unmarshal(signed, &text) == nil {
		signed = json.RawMessage(text)
	}
	var modules map[string][]string
	if err := json.Unmarshal(signed, &modules); err != nil {
		return fmt.Errorf("ModuleSignatureInfo: %w", err)
	}
	r.notes.certificates = map[string]string{}
	for subject, names := range modules {
		for _, name := range names {
			// Of several certificates of a module the first in order, whatever the order of the map.
			if other, ok := r.notes.certificates[name]; !ok || subject < other {
				r.notes.certificates[name] = subject
			}
		}
	}
	return nil
}

// certificate returns the subject of the certificate that signed a module.
func (r *Report) certificate(module string) (subject string, ok bool) {
	subject, ok = r.notes.certificates[leaf(module)]
	return subject, ok
}

// anyCertificate reports whether the certificate of any module is known.
func (r *Report) anyCertificate() bool {
	for i := range r.Modules {
		if _, ok := r.certificate(r.Modules[i].Name); ok {
			return true
		}
	}
	return false
}

func (r *Report) microcode() (uint64, bool) {
	if v, ok := r.Dump.Linux.Microcode(); ok {
		return v, true
	}
	return r.notes.microcode, r.notes.hasMicrocode
}
