// Package portal holds the rules of portal sessions: which rights and looks a session may
// have, and how the colours of a platform become readable text. Its functions are pure.
package portal
