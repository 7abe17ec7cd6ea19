package routers

import (
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/fleetotel/telemetry"
)

func echo4Router(recovered bool) http.Handler {
	router := echo.New()
	// begin: routes
	router.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error { telemetry.SetRoute(c.Request().Context(), c.Path()); return next(c) }
	})
	// end: routes
	if recovered {
		// begin: panics
		router.Use(middleware.Recover(), echo.WrapMiddleware(telemetry.Middleware()))
		// end: panics
	}
	router.GET("/orders", echo.WrapHandler(http.HandlerFunc(order)))
	router.GET("/orders/:id", echo.WrapHandler(http.HandlerFunc(order)))
	router.Group("/api").GET("/items/:id", echo.WrapHandler(http.HandlerFunc(order)))
	router.GET("/crash", echo.WrapHandler(http.HandlerFunc(crash)))
	router.GET("/updates", echo.WrapHandler(http.HandlerFunc(updates)))
	return telemetry.Handler(router)
}
