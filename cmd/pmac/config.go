package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"salvage/config"
	"salvage/config/inifile"
	"salvage/internal/errs"
)

const (
	envPrefix = "PMAC_"
	tableName = "paul-mclendahand"
)

// options have paul-mclendahand's names (companions.md §3.2).
type options struct{ user, project, main, token, apiURL string }

func (o *options) Options(s *config.Spec) {
	config.Var(s, &o.user, "github_user", config.String, config.Default(""), config.Doc("Account or organisation that has the project."))
	config.Var(s, &o.project, "github_project", config.String, config.Default(""), config.Doc("The project."))
	config.Var(s, &o.main, "main_branch", config.String, config.Default(""), config.Doc("Branch that pull requests are for."))
	config.Var(s, &o.token, "github_api_token", config.String, config.Default(""), config.Secret(), config.Doc("Token for the API; in the environment only."))
	config.Var(s, &o.apiURL, "api_url", config.String, config.Default("https://api.github.com"), config.Doc("Address of GitHub's API."))
}

// load reads the flag, the environment, and pyproject.toml or, only where there is none, setup.cfg. The report is
// there even if something is missing.
func (p *program) load() (*options, *config.Report, error) {
	flags := map[string]string{}
	if p.apiURL != "" {
		flags["api-url"] = p.apiURL
	}
	sources := []config.Source{config.Flags(flags), config.Environ(envPrefix)}
	file, err := p.file()
	if err != nil {
		return nil, nil, err
	}
	if file != nil {
		sources = append(sources, file)
	}
	o := new(options)
	report, err := config.Load(o, config.LoadOptions{Sources: sources})
	if err != nil {
		return nil, report, errs.Public(errs.Conflict, "%v", err)
	}
	for _, missing := range []struct{ key, value string }{{"github_user", o.user}, {"github_project", o.project}, {"main_branch", o.main}} {
		if missing.value == "" {
			return nil, report, errs.Public(errs.Conflict, "Configuration '%s' not set.", missing.key)
		}
	}
	return o, report, nil
}

// file returns the options of the file in the current folder, nil if there are none.
func (p *program) file() (config.Source, error) {
	values := map[string]string{}
	name := "pyproject.toml"
	data, err := os.ReadFile(filepath.Join(p.dir, name))
	switch {
	case err == nil:
		var doc struct {
			Tool map[string]any `toml:"tool"`
		}
		if err := toml.Unmarshal(data, &doc); err != nil {
			return nil, errs.Public(errs.Conflict, "%s cannot be read: %v.", name, err)
		}
		table, _ := doc.Tool[tableName].(map[string]any)
		for key, value := range table {
			values[key] = fmt.Sprint(value)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	default:
		name = "setup.cfg"
		data, err := os.ReadFile(filepath.Join(p.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		section, found := "", false
		for line := range strings.Lines(string(data)) { // others' sections have values of several lines
			if strings.HasPrefix(line, "[") {
				found = strings.TrimSpace(line) == "[tool:"+tableName+"]"
			} else if found {
				section += line
			}
		}
		source, err := inifile.Parse(name, []byte(section))
		if err != nil {
			return nil, errs.Public(errs.Conflict, "%s cannot be read: %v.", name, err)
		}
		if lister, ok := source.(config.Lister); ok {
			for _, v := range lister.List() {
				values[v.Name] = v.Text
			}
		}
	}
	if _, ok := values["github_api_token"]; ok {
		return nil, errs.Public(errs.Conflict, "You shouldn't set github_api_token in %s.", name)
	}
	return config.Map(name, values), nil
}
