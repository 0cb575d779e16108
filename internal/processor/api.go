package processor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"salvage/internal/access"
	"salvage/internal/crash"
	"salvage/internal/errs"
	"salvage/internal/httpserver"
	"salvage/internal/queue"
)

const (
	maxReprocess = 1000 // crashes of one request
	defaultRules = "default"
)

// Install adds the routes of the Crash Stats API that are about one crash (crash-pipeline.md §5.4).
func (p *Processor) Install(handle func(pattern string, h http.Handler)) {
	handle("GET /api/ProcessedCrash/{$}", httpserver.JSON(p.serveProcessed)) // client: crashstats-tools, fetch-data
	handle("GET /api/RawCrash/{$}", httpserver.JSON(p.serveRaw))
	handle("GET /api/{name}/{$}", httpserver.JSON(func(_ http.ResponseWriter, r *http.Request) error {
		return errs.Public(errs.NotFound, "No service called '%.100s'", r.PathValue("name"))
	}))
	limit := httpserver.Limit(httpserver.Limits{Name: "reprocess", Body: 1 << 20, Read: 30 * time.Second, Write: time.Minute, Requests: 8})
	handle("POST /api/Reprocessing/{$}", limit(httpserver.JSON(p.serveReprocess)))
}

// notFound is what clients of Crash Stats look for.
func notFound(id crash.ID, err error) error {
	if errors.Is(err, errs.NotFound) {
		return errs.Public(errs.NotFound, "Not found: CrashIDNotFound %s", id)
	}
	return err
}

// asked returns which crash a request is about, and whether it may see what is protected.
func (p *Processor) asked(w http.ResponseWriter, r *http.Request) (id crash.ID, protected bool, err error) {
	who, err := p.Gate.Read(w, r)
	if err != nil {
		return "", false, err
	}
	id, err = crash.ParseID(r.FormValue("crash_id"))
	return id, who.Can(access.ViewProtected), err
}

func (p *Processor) serveProcessed(w http.ResponseWriter, r *http.Request) error {
	id, protected, err := p.asked(w, r)
	if err != nil {
		return err
	}
	var c crash.Processed
	if err := p.readJSON(r.Context(), id.ProcessedKey(), &c); err != nil {
		return notFound(id, err)
	}
	body, err := crash.Marshal(c.Fields(protected))
	return answer(w, body, err)
}

func (p *Processor) serveRaw(w http.ResponseWriter, r *http.Request) error {
	id, protected, err := p.asked(w, r)
	if err != nil {
		return err
	}
	switch format := r.FormValue("format"); format {
	case "", "meta":
		var raw crash.Raw
		if err := p.readJSON(r.Context(), id.RawKey(), &raw); err != nil {
			return notFound(id, err)
		}
		body, err := raw.Visible(protected)
		return answer(w, body, err)
	case "raw":
		if !protected {
			return errs.Public(errs.Denied, "Dumps hold memory of the user's process: they need the permission %s.", access.ViewProtected)
		}
		return p.serveDump(w, r, id)
	default:
		return errs.Public(errs.Invalid, "The format %.20q is neither meta nor raw.", format)
	}
}

func (p *Processor) serveDump(w http.ResponseWriter, r *http.Request, id crash.ID) error {
	name, file := crash.CleanDumpName(r.FormValue("name")), string(id)+".dmp"
	switch name {
	case "", "dump", crash.MinidumpName: // "dump" is how Crash Stats stores it, so crashstats-tools asks for that
		name = crash.MinidumpName
	default:
		file = string(id) + "-" + name + ".dmp"
	}
	dump, info, err := p.Store.Get(r.Context(), id.DumpKey(name))
	if err != nil {
		return notFound(id, err)
	}
	defer dump.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+file+`"`)
	w.Header().Set("Content-Length", fmt.Sprint(info.Size))
	_, err = io.Copy(w, dump)
	return err
}

func answer(w http.ResponseWriter, body []byte, err error) error {
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, err = w.Write(append(body, '\n'))
	return err
}

// serveReprocess queues crashes, all of them or, if one cannot be, none. The answer is null.
func (p *Processor) serveReprocess(w http.ResponseWriter, r *http.Request) error {
	if _, err := p.Gate.Write(r, access.Reprocess); err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return errs.Public(errs.Invalid, "The form cannot be read.")
	}
	asked := r.PostForm["crash_ids"]
	if len(asked) == 0 || len(asked) > maxReprocess {
		return errs.Public(errs.Invalid, "Name 1 to %d crashes in crash_ids; these are %d.", maxReprocess, len(asked))
	}
	keys := make([]string, len(asked))
	for i, s := range asked {
		s, ruleset, _ := strings.Cut(s, ":")
		id, err := crash.ParseID(strings.TrimSpace(s))
		if err != nil {
			return err
		}
		if ruleset != "" && ruleset != defaultRules {
			return errs.Public(errs.Invalid, "There is no ruleset %.40q.", ruleset)
		}
		if _, err := p.Store.Stat(r.Context(), id.RawKey()); err != nil {
			return notFound(id, err)
		}
		keys[i] = string(id)
	}
	if err := p.Queue.Add(r.Context(), Job, queue.Now, keys...); err != nil {
		return err
	}
	return httpserver.WriteJSON(w, http.StatusOK, json.RawMessage("null"))
}
