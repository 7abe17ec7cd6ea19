package routers

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/fleetotel/telemetry"
)

func ginRouter(recovered bool) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.HandleMethodNotAllowed = true
	if recovered {
		// begin: panics
		recorded := func(c *gin.Context, p any) { telemetry.RecordPanic(c.Request.Context(), p); c.AbortWithStatus(500) }
		router.Use(gin.CustomRecovery(recorded))
		// end: panics
	}
	// begin: routes
	router.Use(func(c *gin.Context) { telemetry.SetRoute(c.Request.Context(), c.FullPath()) })
	handler := telemetry.Handler(router)
	// end: routes
	router.GET("/orders", gin.WrapF(order))
	router.GET("/orders/:id", gin.WrapF(order))
	router.Group("/api").GET("/items/:id", gin.WrapF(order))
	router.GET("/crash", gin.WrapF(crash))
	router.GET("/updates", gin.WrapF(updates))
	return handler
}
