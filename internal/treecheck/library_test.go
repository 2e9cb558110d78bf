package treecheck

import (
	"strings"
	"testing"
)

// A program that uses the library does not link the AWS SDK, unless it imports pkg/provision/awssts.
func TestTheLibraryIsBuiltWithoutTheAWSSDK(t *testing.T) {
	for _, dep := range goList(t, "-deps", "./pkg/relay", "./pkg/provision") {
		if strings.HasPrefix(dep, "github.com/aws/") {
			t.Errorf("pkg/relay or pkg/provision is built with %s", dep)
		}
	}
}
