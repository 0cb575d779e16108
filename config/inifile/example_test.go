package inifile_test

import (
	"fmt"

	"salvage/config"
	"salvage/config/inifile"
)

type web struct {
	Listen string
	Pages  int
}

func (w *web) Options(s *config.Spec) {
	config.Var(s, &w.Listen, "listen", config.Addr)
	s.Group("limits", limits{w})
}

type limits struct{ w *web }

func (l limits) Options(s *config.Spec) {
	config.Var(s, &l.w.Pages, "pages", config.Int, config.Default("10"))
}

// Sections are groups.
func Example() {
	file, err := inifile.Parse("file web.ini", []byte("listen = :80  # everywhere\n\n[limits]\npages = 20\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	var w web
	_, err = config.Load(&w, config.LoadOptions{Sources: []config.Source{file}})
	fmt.Println(w.Listen, w.Pages, err)
	// Output: :80 20 <nil>
}
