package transfer_test

import (
	"github.com/posthorn/posthorn/internal/hook"
)

func profileOf(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{1} }

var live = hook.Scope{Tenant: "acme", Mode: hook.Live}
